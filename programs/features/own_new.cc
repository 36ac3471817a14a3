// Own operator new and delete: the program's and the library's allocations meet them.
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <new>
#include <string>
#include <vector>
static long live, total;
void *operator new(std::size_t size) {
  if (size > (1u << 30)) throw std::bad_alloc();
  live++, total++;
  auto *block = static_cast<std::size_t *>(std::malloc(size + 16));
  block[0] = 0x6b696c6e;
  return block + 2;
}
void operator delete(void *p) noexcept {
  if (!p) return;
  auto *block = static_cast<std::size_t *>(p) - 2;
  if (block[0] != 0x6b696c6e) std::puts("a block that is not ours"), std::abort();
  live--;
  std::free(block);
}
void operator delete(void *p, std::size_t) noexcept { operator delete(p); }
int main() {
  {
    std::string text(100, 'x');
    text += std::to_string(123456789012345678L) + std::string(50, 'y');
    std::vector<std::string> list(10, text);
    std::map<int, std::string> map;
    for (int i = 0; i < 20; i++) map[i] = list[i % 10].substr(i);
    std::function<int(int)> f = [text, list](int x) { return int(text.size() + list.size()) + x; };
    std::printf("%d %zu %d\n", f(1), map[19].size(), live > 30);
    delete[] new int[5];
  }
  std::printf("%ld %d\n", live, total > 30);
  try {
    ::operator new(std::size_t(1) << 40);
  } catch (const std::bad_alloc &) {
    std::puts("bad_alloc");
  }
}
