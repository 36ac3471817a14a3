// Order by priority, plain ones last; destructors the other way round, after atexit handlers; arguments as main's.
//# args: x y
#include <stdio.h>
#include <stdlib.h>
static int seen;
__attribute__((constructor)) static void plain(int argc, char **argv, char **envp) { printf("%d plain %d %s %d\n", seen++, argc, argv[1], envp != 0); }
__attribute__((constructor(65534))) static void late(void) { printf("%d late\n", seen++); }
__attribute__((constructor(1000))) static void middle(void) { printf("%d middle\n", seen++); }
__attribute__((constructor(101))) static void early(void) { printf("%d early\n", seen++); }
__attribute__((constructor(1000))) static void middle_too(void) { printf("%d middle too\n", seen++); }
__attribute__((destructor(101))) static void last(void) { printf("%d last\n", seen++); }
__attribute__((destructor)) static void first(void) { printf("%d first\n", seen++); }
static void at_exit_one(void) { printf("%d atexit one\n", seen++); }
static void at_exit_two(void) { printf("%d atexit two\n", seen++); atexit(at_exit_one); }
int main(void) {
  atexit(at_exit_one);
  atexit(at_exit_two);
  printf("%d main\n", seen++);
  return 0;
}
