// What main receives: arguments, environment, and the same environment through `environ` and getenv.
//# args: one --two -x=3 -- -l m
//# env: KILN_TEST_ONE=1 KILN_TEST_TWO=two
//# exit: 7
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
extern char **environ;
static int compare(const void *a, const void *b) { return strcmp(*(char **)a, *(char **)b); }
int main(int argc, char **argv, char **envp) {
  printf("argc %d, argv[argc] %p, argv[0] is %s\n", argc, (void *)argv[argc], argv[0][0] ? "there" : "empty");
  for (int i = 1; i < argc; i++) printf("[%s]\n", argv[i]);
  int n = 0;
  while (envp[n]) n++;
  char *sorted[512];
  memcpy(sorted, envp, n * sizeof *sorted);
  qsort(sorted, n, sizeof *sorted, compare);
  for (int i = 0; i < n; i++) {
    // The values of what the harness sets; of the rest, that nothing was added.
    if (!strncmp(sorted[i], "KILN_TEST", 9)) printf("%s\n", sorted[i]);
    else printf("%.*s\n", (int)strcspn(sorted[i], "="), sorted[i]);
  }
  printf("%s %d\n", getenv("KILN_TEST_TWO"), environ == envp);
  return 7;
}
