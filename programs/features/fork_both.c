// After a fork both sides call functions nobody called before, the same ones and different ones.
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
static int data = 1;
__attribute__((noinline)) static int of_parent(int x) { return x + 100 + data; }
__attribute__((noinline)) static int of_child(int x) { return x + 200 + data; }
__attribute__((noinline)) static int of_both(int x) { return x * data; }
__attribute__((noinline)) static int of_grandchild(int x) { return x - data; }
__attribute__((noinline)) static int later(int x) { return x ^ data; }
static int status_of(pid_t pid) {
  int status;
  return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
static void bye(void) { printf("bye %d\n", data), fflush(stdout); }
int main(void) {
  atexit(bye);
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    data = 2;
    pid_t grandchild = fork();
    if (grandchild == 0) {
      data = 3;
      _exit(of_grandchild(13) + of_both(7) + later(1));
    }
    int theirs = status_of(grandchild);
    printf("child %d %d grandchild %d\n", of_child(1), of_both(10), theirs);
    exit(later(40));
  }
  int ours = of_parent(1) + of_both(10);
  int theirs = status_of(child);
  printf("parent %d child %d later %d\n", ours, theirs, later(2));
  return 0;
}
