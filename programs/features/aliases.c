#include <stdio.h>
int value = 5;
extern int other_name __attribute__((alias("value")));
int real_function(int x) { return x + 1; }
int also_function(int x) __attribute__((alias("real_function")));
int weak_function(int x) __attribute__((weak, alias("real_function")));
static int hidden_function(int x) __attribute__((alias("real_function"), used));
int main(void) {
  other_name = 6;
  printf("%d %d %d %d\n", value, &value == &other_name, also_function(1), weak_function(2));
  printf("%d %d\n", also_function == real_function, hidden_function(3));
  return 0;
}
