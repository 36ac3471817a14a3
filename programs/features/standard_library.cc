//# flags: -std=c++20
#include <algorithm>
#include <bitset>
#include <charconv>
#include <chrono>
#include <complex>
#include <cstdio>
#include <deque>
#include <filesystem>
#include <list>
#include <memory_resource>
#include <numeric>
#include <optional>
#include <random>
#include <ranges>
#include <regex>
#include <set>
#include <sstream>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <variant>
template <class... Ts> struct Overloaded : Ts... { using Ts::operator()...; };
int main() {
  std::mt19937 random(42);
  std::vector<int> v(1000);
  std::generate(v.begin(), v.end(), [&] { return int(random() % 1000); });
  std::ranges::sort(v);
  auto even = v | std::views::filter([](int i) { return i % 2 == 0; }) | std::views::take(5);
  for (int i : even) std::printf("%d ", i);
  std::printf("%d %ld\n", std::accumulate(v.begin(), v.end(), 0), std::unique(v.begin(), v.end()) - v.begin());
  std::regex pattern(R"((\w+)@(\w+)\.com)");
  std::smatch match;
  std::string text = "write to someone@example.com now";
  std::printf("%d %s\n", std::regex_search(text, match, pattern), match[2].str().c_str());
  std::variant<int, std::string, double> variants[] = {1, std::string("two"), 3.0};
  for (auto &x : variants) std::visit(Overloaded{[](int i) { std::printf("int %d ", i); }, [](const std::string &s) { std::printf("string %s ", s.c_str()); }, [](double d) { std::printf("double %g\n", d); }}, x);
  std::complex<double> z = std::pow(std::complex<double>(1, 1), 4);
  std::bitset<70> bits("1011");
  std::optional<int> none;
  int parsed = 0;
  std::from_chars("123x", "123x" + 4, parsed);
  std::printf("%.3f %.3f %zu %d %d\n", z.real(), z.imag(), (bits << 60).count(), none.value_or(9), parsed);
  std::pmr::monotonic_buffer_resource buffer;
  std::pmr::unordered_map<std::pmr::string, int> counts(&buffer);
  std::istringstream words("a b a c b a");
  for (std::string w; words >> w;) counts[std::pmr::string(w, &buffer)]++;
  std::printf("%d %d %d\n", counts["a"], counts["b"], counts["c"]);
  auto shared = std::make_shared<std::list<int>>(3, 7);
  std::weak_ptr weak = shared;
  shared.reset();
  std::printf("%d %s\n", weak.expired(), std::filesystem::path("/a/b/../c.txt").lexically_normal().c_str());
  using namespace std::chrono;
  std::printf("%lld %d\n", (long long)duration_cast<seconds>(hours(2) + minutes(3)).count(), (std::tuple(1, 'a') < std::tuple(1, 'b')));
}
