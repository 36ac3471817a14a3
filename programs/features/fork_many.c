// Many children at a time, each calling its own function; the parent goes on compiling meanwhile.
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#define F(n) __attribute__((noinline)) static int c##n(void) { return 10 + n; } __attribute__((noinline)) static int p##n(void) { return 3 * n; }
F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9)
static int (*const of_child[])(void) = {c0, c1, c2, c3, c4, c5, c6, c7, c8, c9};
static int (*const of_parent[])(void) = {p0, p1, p2, p3, p4, p5, p6, p7, p8, p9};
int main(void) {
  pid_t children[10];
  int sum = 0;
  for (int i = 0; i < 10; i++) {
    if ((children[i] = fork()) == 0) _exit(of_child[i]() + of_parent[9 - i]());
    sum += of_parent[i]();
  }
  for (int i = 0; i < 10; i++) {
    int status;
    waitpid(children[i], &status, 0);
    printf("%d ", WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
  }
  printf("| %d %d\n", sum, of_child[5]());
  return 0;
}
