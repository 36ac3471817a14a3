// Function pointers are equal across modules; static names may repeat; data refers across modules both ways.
#include <stdio.h>
int shared_function(int);
extern int (*const table[3])(int);
extern int (*pointer_of_b(void))(int);
extern const char *const names[];
int counter;
static int local(int x) { return x * 2; }
int exported(int x) { return local(x) + counter; }
int main(void) {
  counter = 3;
  for (int i = 0; i < 3; i++) printf("%s %d\n", names[i], table[i](i + 1));
  printf("%d %d %d\n", table[0] == exported, table[1] == shared_function, pointer_of_b() == exported);
  return 0;
}
