/* Compresses standard input at a level, decompresses the result again in pieces, prints both sizes and a checksum. */
#include "zstd.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(size_t status) {
  if (ZSTD_isError(status)) {
    printf("error: %s\n", ZSTD_getErrorName(status));
    exit(1);
  }
}

int main(int argc, char **argv) {
  int level = argc > 1 ? atoi(argv[1]) : 3;
  size_t size = 0, room = 1 << 16;
  char *text = malloc(room);
  for (size_t n; (n = fread(text + size, 1, room - size, stdin)) > 0;) {
    size += n;
    if (size == room) text = realloc(text, room *= 2);
  }
  size_t bound = ZSTD_compressBound(size);
  char *packed = malloc(bound), *again = malloc(size + 1);
  ZSTD_CCtx *compressor = ZSTD_createCCtx();
  check(ZSTD_CCtx_setParameter(compressor, ZSTD_c_compressionLevel, level));
  check(ZSTD_CCtx_setParameter(compressor, ZSTD_c_checksumFlag, 1));
  size_t packed_size = ZSTD_compress2(compressor, packed, bound, text, size);
  check(packed_size);
  ZSTD_freeCCtx(compressor);

  ZSTD_DStream *stream = ZSTD_createDStream();
  ZSTD_inBuffer in = {packed, 0, 0};
  ZSTD_outBuffer out = {again, size, 0};
  size_t more = 1;
  while (more && in.pos < packed_size) {
    in.size = in.pos + 1000 < packed_size ? in.pos + 1000 : packed_size;
    check(more = ZSTD_decompressStream(stream, &out, &in));
  }
  ZSTD_freeDStream(stream);
  uint32_t sum = 1;
  for (size_t i = 0; i < packed_size; i++) sum = sum * 31 + (unsigned char)packed[i];
  printf("%zu -> %zu, %08x, %s\n", size, packed_size, sum, out.pos == size && !memcmp(text, again, size) ? "same" : "DIFFERENT");
  return 0;
}
