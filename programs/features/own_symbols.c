// The program finds its own functions and data by name, and by address.
//# flags: -D_GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
int own_function(int x) { return x + 1; }
int own_data = 5;
static int hidden(int x) { return x; }
__attribute__((visibility("hidden"))) int not_exported(int x) { return x; }
int main(void) {
  void *self = dlopen(0, RTLD_NOW);
  int (*function)(int) = (int (*)(int))dlsym(RTLD_DEFAULT, "own_function");
  int *data = dlsym(self, "own_data");
  printf("%d %d\n", function == own_function, data == &own_data);
  if (function && data) printf("%d %d\n", function(*data), hidden(1));
  printf("%d %d\n", dlsym(RTLD_DEFAULT, "hidden") == 0, dlsym(self, "not_exported") == 0);
  printf("%d %d\n", dlsym(self, "surely_not_there") == 0, strstr(dlerror(), "surely_not_there") != 0);
  printf("%d\n", dlsym(RTLD_DEFAULT, "puts") == (void *)puts);
  void *math = dlopen("libm.so.6", RTLD_NOW);
  double (*cosine)(double) = (double (*)(double))dlsym(math, "cos");
  printf("%g %d\n", cosine(0), dlclose(math));
  return 0;
}
