// A small script: objects, closures, a map, JSON, regular expressions and sorting, about 50 ms for an unoptimised QuickJS.
class Vector {
  constructor(x, y) { this.x = x; this.y = y; }
  plus(other) { return new Vector(this.x + other.x, this.y + other.y); }
}
let position = new Vector(0, 0);
for (let step = 0; step < 17500; step++) position = position.plus(new Vector(step, 1 - step));
const words = "a journey of a thousand miles begins with a single step".split(" ");
const seen = new Map();
for (let i = 0; i < 4400; i++) {
  const key = words[i * 5 % words.length] + i % 40;
  seen.set(key, (seen.get(key) ?? 0) + 1);
}
const entries = JSON.parse(JSON.stringify([...seen].map(([key, count]) =>
  ({ key, count, loud: key.replace(/[aeiou]+/g, vowels => vowels.toUpperCase()) }))));
entries.sort((a, b) => b.count - a.count || (a.key < b.key ? -1 : 1));
print(position.x, position.y, entries.length, entries[0].loud, entries.reduce((sum, entry) => sum + entry.count, 0));
