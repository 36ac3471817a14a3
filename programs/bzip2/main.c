/* Compresses standard input with a block size, decompresses the result again, prints both sizes and a checksum. */
#include "bzlib.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The library calls this for its own mistakes when it is built without stdio. */
void bz_internal_error(int code) {
  printf("internal error %d\n", code);
  exit(3);
}

int main(int argc, char **argv) {
  int block = argc > 1 ? atoi(argv[1]) : 9;
  size_t size = 0, room = 1 << 16;
  char *text = malloc(room);
  for (size_t n; (n = fread(text + size, 1, room - size, stdin)) > 0;) {
    size += n;
    if (size == room) text = realloc(text, room *= 2);
  }
  unsigned packed_size = size + size / 100 + 600, again_size = size;
  char *packed = malloc(packed_size), *again = malloc(size + 1);
  int status = BZ2_bzBuffToBuffCompress(packed, &packed_size, text, size, block, 0, 30);
  if (status == BZ_OK) status = BZ2_bzBuffToBuffDecompress(again, &again_size, packed, packed_size, 0, 0);
  uint32_t sum = 1;
  for (unsigned i = 0; status == BZ_OK && i < packed_size; i++) sum = sum * 31 + (unsigned char)packed[i];
  printf("%zu -> %u, %08x, status %d, %s\n", size, packed_size, sum, status,
         again_size == size && !memcmp(text, again, size) ? "same" : "DIFFERENT");
  return status != BZ_OK;
}
