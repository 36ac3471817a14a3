// Integer arithmetic on many locals: a block cipher's kind of loop.
#include "kernel.h"

static uint32_t rotate(uint32_t x, int by) { return x << by | x >> (32 - by); }

static uint64_t work(void) {
  uint32_t a = 1, b = 2, c = 3, d = 4, e = 5, f = 6, g = 7, h = 8;
  for (uint32_t i = 0; i < 3000000; i++) {
    uint32_t s = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
    uint32_t t = h + s + ((e & f) ^ (~e & g)) + i * 0x9e3779b9u;
    uint32_t u = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    h = g, g = f, f = e, e = d + t, d = c, c = b, b = a, a = t + u;
  }
  return ((uint64_t)(a ^ b ^ c ^ d) << 32) | (e ^ f ^ g ^ h);
}
