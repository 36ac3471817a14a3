// Standard input and output pass through: buffering, binary, formats both ways.
//# stdin: 12 abc 3.5\nsecond line\nrest\n
//# stderr: compare
#include <stdio.h>
#include <string.h>
#include <wchar.h>
int main(void) {
  int n;
  char word[16], line[64];
  double d;
  printf("%d:", scanf("%d %15s %lf ", &n, word, &d));
  printf("%d %s %g\n", n, word, d);
  if (fgets(line, sizeof line, stdin)) printf("[%.*s]\n", (int)strcspn(line, "\n"), line);
  int count = 0;
  while (getchar() != EOF) count++;
  printf("%d %d\n", count, feof(stdin) != 0);
  fprintf(stderr, "to stderr %d\n", 1);
  fputs("no newline at the end", stdout);
  fwrite("\0\1\2", 1, 3, stdout);
  setvbuf(stdout, NULL, _IONBF, 0);
  printf("%s%-5d|%+.3e|%#o|%%\n", "", 42, 12345.678, 8);
  return 0;
}
