// The first descriptor is 3; closing everything above 2 harms neither old functions nor new ones.
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#define F(n) __attribute__((noinline)) static int f##n(int x) { return x + n; }
F(1) F(2) F(3) F(4)
int main(void) {
  int first = open("/dev/null", O_RDONLY), second = dup(0);
  printf("%d %d %d\n", first, second, f1(1));
  printf("%d %d\n", close_range(3, ~0u, 0), f2(1));
  for (int fd = 3; fd < 1024; fd++) close(fd);
  printf("%d %d\n", f3(1), open("/dev/null", O_RDONLY));
  closefrom(3);
  printf("%d %d\n", f4(1), fcntl(3, F_GETFD));
  return 0;
}
