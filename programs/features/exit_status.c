// The low eight bits of the status, after the handlers ran.
//# exit: 44
#include <stdio.h>
#include <stdlib.h>
static void bye(void) { puts("bye"); }
int main(void) {
  atexit(bye);
  exit(300);
}
