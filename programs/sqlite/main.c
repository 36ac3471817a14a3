/* Runs a file of SQL on a database in memory, or in the file named second; prints rows with `|` between columns. */
#include "sqlite3.h"

#include <stdio.h>
#include <stdlib.h>

static char *slurp(const char *path) {
  FILE *file = fopen(path, "rb");
  size_t size = 0, room = 4096;
  char *text = malloc(room);
  if (!file || !text) return NULL;
  for (size_t n; (n = fread(text + size, 1, room - size - 1, file)) > 0;) {
    size += n;
    if (size + 1 == room && !(text = realloc(text, room *= 2))) return NULL;
  }
  fclose(file);
  text[size] = 0;
  return text;
}

static int print_row(void *rows, int columns, char **values, char **names) {
  (void)names;
  ++*(long *)rows;
  for (int i = 0; i < columns; i++) printf("%s%s", i ? "|" : "", values[i] ? values[i] : "NULL");
  putchar('\n');
  return 0;
}

int main(int argc, char **argv) {
  if (argc < 2) {
    fprintf(stderr, "usage: %s SCRIPT [DATABASE]\n", argv[0]);
    return 2;
  }
  char *script = slurp(argv[1]), *message = NULL;
  if (!script) {
    perror(argv[1]);
    return 2;
  }
  sqlite3 *db;
  long rows = 0;
  int status = sqlite3_open(argc > 2 ? argv[2] : ":memory:", &db);
  if (status == SQLITE_OK) status = sqlite3_exec(db, script, print_row, &rows, &message);
  if (status != SQLITE_OK) printf("error %d: %s\n", status, message ? message : sqlite3_errmsg(db));
  printf("-- %ld rows\n", rows);
  sqlite3_free(message);
  sqlite3_close(db);
  free(script);
  return status != SQLITE_OK;
}
