"use strict";
class Animal {
  #name;
  static count = 0;
  constructor(name) { this.#name = name; Animal.count++; }
  get name() { return this.#name; }
  toString() { return `${this.constructor.name}:${this.#name}`; }
}
class Dog extends Animal { speak() { return super.toString() + "!"; } }
print(new Dog("Rex").speak(), Animal.count);
const fib = n => n < 2 ? n : fib(n - 1) + fib(n - 2);
print(fib(15), [..."héllo"].reverse().join(""), 2n ** 100n, 0.1 + 0.2, (1234.5678).toFixed(2), (255).toString(16));
function* naturals() { for (let i = 1; ; i++) yield i; }
const odds = [];
for (const n of naturals()) { if (n > 20) break; if (n % 2) odds.push(n * n); }
print(odds);
const { a, b: { c = 5, ...others }, ...rest } = { a: 1, b: { d: 2, e: 3 }, f: 4, g: [5] };
print(a, c, JSON.stringify(others), JSON.stringify(rest));
print(JSON.stringify(JSON.parse('{"x":[1,{"y":null}],"z":"\\u00e9"}'), null, 1));
print("2024-02-29T12:00:00Z".replace(/(\d+)-(\d+)-(\d+)/u, "$3.$2.$1"), /(?<=\$)\d+(?!\d)/.exec("cost $42")[0]);
try { null.field; } catch (e) { print(e instanceof TypeError, e.name); } finally { print("finally"); }
print([5, 3, 11, 1].sort((x, y) => x - y), [1, 2, 3].flatMap(x => [x, x * 10]), Object.entries({ p: 1, q: 2 }));
const map = new Map([["k", 1]]), set = new Set([1, 1, 2]), weak = new WeakMap();
weak.set(map, set);
print(map.get("k"), set.size, weak.get(map) === set, Symbol("s").toString());
const logged = new Proxy({}, { get: (_, key) => `got ${String(key)}` });
print(logged.anything, Reflect.ownKeys({ z: 1, [Symbol.iterator]: 2 }).length);
(async () => { print("async 1"); await null; print("async 3"); throw new Error("rejected"); })().catch(e => print(e.message));
print("sync 2");
Promise.all([1, Promise.resolve(2)]).then(v => print("all", v));
print(new Float64Array([1.5, 2.5]).map(x => x * 2), new DataView(new ArrayBuffer(8)).getInt16(0), Math.hypot(3, 4), Math.clz32(1));
print(new Date(Date.UTC(2020, 1, 29)).toISOString(), encodeURIComponent("a b&ü"), parseInt("z", 36), isNaN("x"));
let depth = 0;
try { (function down() { depth++; down(); })(); } catch (e) { print(e.name, depth > 10); }
