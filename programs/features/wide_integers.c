#include <stdio.h>
typedef unsigned __int128 u128;
static void show(u128 x) { printf("%016llx%016llx\n", (unsigned long long)(x >> 64), (unsigned long long)x); }
static u128 gcd(u128 a, u128 b) { while (b) { u128 t = a % b; a = b; b = t; } return a; }
static const u128 constant = ((u128)0x0123456789abcdefULL << 64) | 0xfedcba9876543210ULL;
int main(void) {
  u128 f = 1;
  for (int i = 2; i <= 33; i++) f *= i;
  show(f);
  show(gcd(f, constant));
  show(f / 1000000007 - f % 1000000007);
  show((u128)((__int128)-5 / 3) ^ (u128)((__int128)-5 >> 1));
  double d = (double)f;
  printf("%.6e %d\n", d, (u128)d > f / 2);
  _BitInt(37) a = 0x123456789wb;
  unsigned _BitInt(100) b = 1;
  for (int i = 0; i < 30; i++) b = b * 7 + a;
  a = a * a;
  printf("%llx %llx %llx\n", (unsigned long long)(a & 0x1fffffffffwb), (unsigned long long)(b >> 64), (unsigned long long)b);
  u128 swapped;
  printf("%d\n", __builtin_mul_overflow(f, constant, &swapped));
  show(swapped);
  return 0;
}
