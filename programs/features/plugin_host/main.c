// A shared library opened at run time needs the program's functions and data, and is called back.
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
int host_counter = 40;
int host_add(int a, int b) { return a + b; }
__attribute__((weak)) int host_weak(void) { return 3; }
static int callback(int x) { return x * 2; }
int main(void) {
  char path[4096];
  snprintf(path, sizeof path, "%s/plugin.so", getenv("PLUGINS"));
  void *plugin = dlopen(path, RTLD_NOW);
  if (!plugin) {
    puts(dlerror());
    return 1;
  }
  int (*enter)(int (*)(int)) = (int (*)(int (*)(int)))dlsym(plugin, "enter");
  int (*(*address)(void))(int, int) = (int (*(*)(void))(int, int))dlsym(plugin, "address_of_host_add");
  printf("%d %d %d\n", enter(callback), host_counter, address() == host_add);
  printf("%d\n", dlclose(plugin));
  return 0;
}
