// Vectors of the language and of SSE, as arguments, results and in memory.
#include <emmintrin.h>
#include <stdio.h>
typedef float v4f __attribute__((vector_size(16)));
typedef int v8i __attribute__((vector_size(32)));
typedef unsigned char v16b __attribute__((vector_size(16)));
__attribute__((noinline)) static v4f blend(v4f a, v4f b, float t) { return a * (1 - t) + b * t; }
__attribute__((noinline)) static int total(v8i v) {
  int sum = 0;
  for (int i = 0; i < 8; i++) sum += v[i];
  return sum;
}
__attribute__((noinline)) static __m128d swap(__m128d x) { return _mm_shuffle_pd(x, x, 1); }
int main(void) {
  v4f r = blend((v4f){1, 2, 3, 4}, (v4f){10, 20, 30, 40}, 0.25f);
  v8i v = {1, -2, 3, -4, 5, -6, 7, -8}, mask = v > 0;
  v16b bytes = {};
  for (int i = 0; i < 16; i++) bytes[i] = i * 17;
  v16b reversed = __builtin_shufflevector(bytes, bytes, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  double d[2];
  _mm_storeu_pd(d, swap(_mm_set_pd(1.5, 2.5)));
  printf("%g %g %g %g | %d %d | %d %d | %g %g\n", r[0], r[1], r[2], r[3], total(v & mask), total(v << 1), reversed[0], (reversed ^ bytes)[3], d[0], d[1]);
  return 0;
}
