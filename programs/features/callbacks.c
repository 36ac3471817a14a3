// Native code calls back into functions that are not compiled yet.
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static int calls;
static int by_value(const void *a, const void *b) { calls++; return *(int *)a - *(int *)b; }
static int backwards(const void *a, const void *b, void *context) { ++*(int *)context; return by_value(b, a); }
static void visit(const void *node, VISIT order, int depth) {
  if (order == preorder || order == leaf) printf("%d@%d ", **(int **)node, depth >= 0);
}
static void discard(void *node) { (void)node; }
int main(void) {
  int values[] = {5, 3, 9, 1, 7}, key = 7, times = 0;
  qsort(values, 5, sizeof *values, by_value);
  int *found = bsearch(&key, values, 5, sizeof *values, by_value);
  printf("%td %d\n", found - values, calls > 0);
  qsort_r(values, 5, sizeof *values, backwards, &times);
  for (int i = 0; i < 5; i++) printf("%d ", values[i]);
  void *root = NULL;
  for (int i = 0; i < 5; i++) tsearch(&values[i], &root, by_value);
  twalk(root, visit);
  tdestroy(root, discard);
  printf("%d\n", times > 0);
  return 0;
}
