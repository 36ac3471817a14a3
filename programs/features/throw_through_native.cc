// Exceptions pass frames of libc and libstdc++ on their way, in both directions.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <string>
#include <vector>
static int compare(const void *a, const void *b) {
  if (*(const int *)a == 3) throw std::string("met a three");
  return *(const int *)a - *(const int *)b;
}
static std::once_flag flag;
static int attempts;
int main() {
  int values[] = {5, 3, 4, 1, 2};
  try {
    qsort(values, 5, sizeof *values, compare);
    std::puts("sorted");
  } catch (const std::string &text) {
    std::puts(text.c_str());
  }
  try {
    std::vector<int>().at(3);
  } catch (const std::exception &) {
    std::puts("out of range");
  }
  try {
    std::stoi("no number");
  } catch (const std::invalid_argument &e) {
    std::puts(e.what());
  }
  for (int i = 0; i < 3; i++) try {
      std::call_once(flag, [] { if (++attempts < 2) throw 1; });
      std::printf("once %d\n", attempts);
    } catch (int) {
      std::puts("failed once");
    }
  try {
    std::function<void()> empty;
    empty();
  } catch (const std::bad_function_call &) {
    std::puts("bad call");
  }
}
