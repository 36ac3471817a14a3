// Weak, strong and common definitions over several modules; weak references to nothing.
//# flags: -fcommon
#include <stdio.h>
int tentative;
int tentative_array[4];
__attribute__((weak)) int overridden(void) { return 1; }
__attribute__((weak)) int kept(void) { return 10; }
__attribute__((weak)) int weak_data = 100;
extern int nowhere(void) __attribute__((weak));
extern int nowhere_data __attribute__((weak));
int from_other(void);
int *other_address(void);
int main(void) {
  tentative += 5;
  tentative_array[2] = 7;
  printf("%d %d %d %d\n", overridden(), kept(), weak_data, from_other());
  printf("%d %d\n", nowhere == 0, &nowhere_data == 0);
  printf("%d %d\n", other_address() == &tentative, tentative_array[2]);
  return 0;
}
