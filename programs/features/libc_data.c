// Data that lives in libc, reached from position-dependent code too.
//# flags: -D_GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
extern char **environ;
static FILE *const *const pointers[] = {&stdout, &stderr};
int main(int argc, char **argv) {
  char *options[] = {"x", "-a", "-b", "value", "rest", 0};
  (void)argc;
  (void)argv;
  int c;
  while ((c = getopt(5, options, "ab:")) != -1) printf("%c %s\n", c, optarg ? optarg : "-");
  printf("%d %d %d\n", optind, opterr, environ != 0);
  fprintf(*pointers[0], "%d %s\n", *pointers[0] == stdout, program_invocation_short_name[0] ? "named" : "");
  setenv("TZ", "UTC", 1);
  tzset();
  printf("%s %ld\n", tzname[0], timezone);
  return 0;
}
