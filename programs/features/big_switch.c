#include <stdio.h>
static int dense(int x) {
  switch (x) {
#define C(n) case n: return (n * 7919) % 1009;
#define T(n) C(n) C(n + 1) C(n + 2) C(n + 3) C(n + 4) C(n + 5) C(n + 6) C(n + 7) C(n + 8) C(n + 9)
#define H(n) T(n) T(n + 10) T(n + 20) T(n + 30) T(n + 40) T(n + 50) T(n + 60) T(n + 70) T(n + 80) T(n + 90)
    H(0) H(100) H(200) H(300) H(400) H(500) H(600) H(700) H(800) H(900)
  }
  return -1;
}
static int sparse(long x) {
  switch (x) {
    case -9000000000L: return 1;
    case -1: return 2;
    case 0: return 3;
    case 77: case 78: case 79: return 4;
    case 1L << 40: return 5;
    case 1000 ... 2000: return 6;
  }
  return 0;
}
static int on_bool(_Bool b, unsigned char c) {
  switch (b) { case 0: return c == 255; case 1: switch (c) { case 200: return 20; case 255: return 30; } }
  return 9;
}
int main(void) {
  long sum = 0;
  for (int i = -5; i < 1005; i++) sum = sum * 3 % 1000003 + dense(i);
  printf("%ld %d%d%d%d%d%d%d %d %d\n", sum, sparse(-9000000000L), sparse(-1), sparse(0), sparse(78), sparse(1L << 40), sparse(1500),
         sparse(5), on_bool(0, 255), on_bool(1, 200));
  return 0;
}
