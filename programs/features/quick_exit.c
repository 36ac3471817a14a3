//# exit: 5
#include <stdio.h>
#include <stdlib.h>
static void never(void) { puts("never"); }
static void quick(void) { puts("quick"), fflush(stdout); }
int main(void) {
  atexit(never);
  at_quick_exit(quick);
  quick_exit(5);
}
