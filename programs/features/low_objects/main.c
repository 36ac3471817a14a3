// Objects with 32-bit absolute addresses run where everything lies below 2 GiB.
//# flags: -fno-pic -no-pie
//# options: --low
#include <stdio.h>
extern const char *const names[3];
const char *name_of(unsigned);
int twice(int x) { return 2 * x; }
int main(void) {
  for (unsigned i = 0; i < 3; i++) printf("%s %s\n", names[i], name_of(2 - i));
  return 0;
}
