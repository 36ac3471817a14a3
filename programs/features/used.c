// llvm.used and a section with __start_/__stop_ symbols: entries that nothing refers to by name.
#include <stdio.h>
typedef int (*entry)(void);
#define ENTRY(name, value) \
  static int name(void) { return value; } \
  __attribute__((used, section("registry"))) static const entry name##_entry = name;
ENTRY(one, 1)
ENTRY(two, 2)
ENTRY(three, 3)
extern const entry __start_registry[], __stop_registry[];
extern const int __start_absent[] __attribute__((weak)), __stop_absent[] __attribute__((weak));
int main(void) {
  int sum = 0;
  for (const entry *e = __start_registry; e < __stop_registry; e++) sum = sum * 10 + (*e)();
  printf("%d %td %d\n", sum, __stop_registry - __start_registry, __start_absent == __stop_absent);
  return 0;
}
