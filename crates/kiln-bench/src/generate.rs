//! Sources and inputs made by program: large enough to measure, the same on every machine.

use std::fmt::Write as _;

/// A C++ source with `count` instantiations of templates over the standard library: one object with thousands of COMDAT
/// sections, which is what large C++ programs are made of. It prints one number.
pub fn comdats(count: usize) -> String {
    let mut text = String::from(
        r#"#include <cstdio>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <set>
#include <sstream>
#include <string>
#include <tuple>
#include <unordered_map>
#include <variant>
#include <vector>

template <int N> struct Shape {
  virtual ~Shape() = default;
  virtual long area(long side) const { return side * side + N; }
  virtual std::string name() const { return "shape" + std::to_string(N); }
};
template <int N> struct Circle : Shape<N> {
  std::vector<std::shared_ptr<Shape<N>>> inner;
  std::function<long(long)> scale = [](long side) { return side * 3 + N; };
  long area(long side) const override {
    return std::accumulate(inner.begin(), inner.end(), scale(side), [&](long sum, auto &s) { return sum + s->area(side); });
  }
  std::string name() const override { return "circle of " + Shape<N>::name(); }
};
template <int N> struct Tagged {
  int rank;
  std::string label;
  auto key() const { return std::make_tuple(rank % (N % 5 + 2), std::cref(label)); }
  friend bool operator<(const Tagged &a, const Tagged &b) { return a.key() < b.key(); }
};
template <int N> long exercise(long seed) {
  std::set<Tagged<N>> ordered;
  std::map<std::string, std::deque<Tagged<N>>> grouped;
  std::unordered_map<long, std::variant<long, std::string, Tagged<N>>> mixed;
  for (long i = 0; i < 16; i++) {
    Tagged<N> tagged{int((seed * 7 + i * 13) % 23), std::to_string(i % 5)};
    ordered.insert(tagged);
    grouped[tagged.label].push_front(tagged);
    switch (i % 3) {
    case 0: mixed[i] = i * N; break;
    case 1: mixed[i] = tagged.label; break;
    default: mixed[i] = tagged;
    }
  }
  Circle<N> circle;
  circle.inner = {std::make_shared<Shape<N>>(), std::make_shared<Circle<N>>()};
  std::ostringstream text;
  text << circle.name() << ordered.size() << grouped.size();
  long sum = circle.area(seed & 15) + long(text.str().size());
  for (long i = 0; i < 16; i++)
    sum = sum * 31 + std::visit([](const auto &v) -> long {
      using T = std::decay_t<decltype(v)>;
      if constexpr (std::is_same_v<T, long>) return v;
      else if constexpr (std::is_same_v<T, std::string>) return long(v.size());
      else return v.rank;
    }, mixed[i]);
  return sum & 0xffffff;
}
int main() {
  long sum = 1;
"#,
    );
    for n in 0..count {
        let _ = writeln!(text, "  sum = exercise<{n}>(sum);");
    }
    text + "  std::printf(\"%ld\\n\", sum);\n}\n"
}

/// A C source with `count` one-line functions, all called once; the program prints, for the time before and after, its
/// resident bytes and its number of mappings.
pub fn one_liners(count: usize) -> String {
    let mut text = String::from(
        r#"#include <stdio.h>
#include <string.h>
static void report(const char *when) {
  char line[512];
  long pss = 0, mappings = 0;
  FILE *f = fopen("/proc/self/smaps_rollup", "r");
  while (f && fgets(line, sizeof line, f)) sscanf(line, "Rss: %ld", &pss);
  if (f) fclose(f);
  f = fopen("/proc/self/maps", "r");
  while (f && fgets(line, sizeof line, f)) mappings++;
  if (f) fclose(f);
  printf("%s %ld %ld\n", when, pss * 1024, mappings);
}
"#,
    );
    for n in 0..count {
        let _ = writeln!(text, "int f{n}(int x) {{ return x + {n}; }}");
    }
    text += "static int (*const all[])(int) = {";
    for n in 0..count {
        let _ = write!(text, "f{n},");
        if n % 16 == 15 {
            text.push('\n');
        }
    }
    text += r#"};
int main(void) {
  unsigned sum = 0;
  report("before");
  for (unsigned i = 0; i < sizeof all / sizeof *all; i++) sum += all[i](1);
  report("after");
  printf("sum %u\n", sum);
}
"#;
    text
}

/// A C++ source with `count` functions beside those under test: it prints the nanoseconds of one throw through a frame of
/// its own, and of one throw inside libstdc++ (`std::stoi`, native frames only), each the best of several rounds.
pub fn throws(count: usize) -> String {
    let mut text = String::from(
        r#"#include <chrono>
#include <cstdio>
#include <stdexcept>
#include <string>
"#,
    );
    for n in 0..count {
        let _ = writeln!(text, "extern \"C\" int f{n}(int x) {{ return x + {n}; }}");
    }
    text += "extern \"C\" int (*const all[])(int) = {";
    for n in 0..count {
        let _ = write!(text, "f{n},");
        if n % 16 == 15 {
            text.push('\n');
        }
    }
    text += r#"};
__attribute__((noinline)) void thrower(int x) { if (x >= 0) throw x; }
__attribute__((noinline)) int own(int x) { try { thrower(x); } catch (int y) { return y; } return 0; }
__attribute__((noinline)) int native(int x) { try { return std::stoi("none"); } catch (const std::invalid_argument &) { return x; } }
template <typename F> double best(F f) {
  double best = 1e18;
  for (int round = 0; round < 7; round++) {
    auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < 2000; i++) f(i);
    std::chrono::duration<double, std::nano> spent = std::chrono::steady_clock::now() - start;
    if (spent.count() / 2000 < best) best = spent.count() / 2000;
  }
  return best;
}
int main() {
  unsigned sum = 0;
  for (auto f : all) sum += f(1);
  std::printf("%.0f %.0f %u\n", best(own), best(native), sum);
}
"#;
    text
}

/// Text that compresses like prose: words of a fixed vocabulary in an order that a seeded generator decides.
pub fn prose(bytes: usize) -> Vec<u8> {
    let syllables =
        ["ka", "lo", "mi", "ter", "an", "sul", "ve", "ron", "ti", "ba", "shen", "or", "du", "pel", "ix", "na"];
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move || {
        // xorshift64*, Marsaglia and Vigna: enough for text, and no dependency that might change its sequence.
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33
    };
    let mut text = Vec::with_capacity(bytes + 16);
    while text.len() < bytes {
        // The square makes some words common and most rare.
        let word = (next() % 61 * (next() % 61)) as usize;
        text.extend_from_slice(syllables[word % 16].as_bytes());
        text.extend_from_slice(syllables[word / 16 % 16].as_bytes());
        if word > 256 {
            text.extend_from_slice(syllables[word / 256].as_bytes());
        }
        text.push(if next() % 12 == 0 { b'\n' } else { b' ' });
    }
    text.truncate(bytes);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_has_the_size_asked_for_and_repeats_itself() {
        let text = prose(10_000);
        assert_eq!(text.len(), 10_000);
        assert_eq!(text, prose(10_000));
        assert!(text.iter().filter(|byte| **byte == b'\n').count() > 50);
    }

    #[test]
    fn sources_hold_as_many_functions_as_asked() {
        assert_eq!(comdats(7).matches("sum = exercise<").count(), 7);
        assert_eq!(one_liners(7).matches("int f").count(), 7);
    }
}
