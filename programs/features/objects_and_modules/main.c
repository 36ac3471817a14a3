// Bitcode and machine code in one program: each calls the other, pointers are equal on both sides.
#include <stdio.h>
int from_object(int x);
int (*object_pointer(void))(int);
extern int object_data[3];
extern int assembled(int);
int in_module(int x) { return x + 1; }
int main(void) {
  object_data[1] += 5;
  printf("%d %d %d %d\n", from_object(1), object_data[1], object_pointer() == in_module, assembled(20));
  return 0;
}
