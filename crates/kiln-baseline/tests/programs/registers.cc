// Values that keep registers across blocks: what could destroy or confuse them.
#include <csetjmp>
#include <cstdint>
#include <cstdio>
#include <cstring>

#define NOINLINE __attribute__((noinline))

NOINLINE static int may_throw(int n) {
  if (n % 3 == 0) throw n;
  return n * 2;
}

// Variables change in the loop and are read by the handlers: the unwinder restores their registers.
NOINLINE static long handlers(int n) {
  long sum = 0, caught = 0;
  int last = -1;
  for (int i = 0; i < n; i++) {
    sum += i;
    try {
      last = may_throw(i);
      sum += last;
    } catch (int value) {
      caught = caught * 7 + value + last + sum % 11;
    }
  }
  return sum * 1000 + caught;
}

struct Guard {
  long *at;
  ~Guard() { *at = *at * 3 + 1; }
};

// Cleanups run on the way out of several frames, each of which saved what the ones above keep.
NOINLINE static long deep(int depth, long a, long b, long c, long d) {
  long here = a;
  Guard guard{&here};
  for (int i = 0; i < depth; i++) {
    long t = a;
    a = b + i;
    b = c ^ t;
    c = d;
    d = t + here;
    if (depth > 0) try {
        d += deep(depth - 1, b, a, d, c);
      } catch (long value) {
        d += value;
        if (i & 1) throw d;
      }
  }
  if (depth == 0 && (a & 3) == 1) throw a + b;
  return a + 3 * b + 5 * c + 7 * d;
}

// Moves that form cycles.
NOINLINE static uint64_t rotate(uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f, int n) {
  double x = 1.5, y = 2.5, z = 0.25;
  for (int i = 0; i < n; i++) {
    uint64_t t = a;
    a = b, b = c, c = d, d = e, e = f, f = t + i;
    double u = x;
    x = y, y = z, z = u + 0.125;
    if (f & 1) {
      t = c;
      c = d;
      d = t;
    }
  }
  return a + b * 3 + c * 5 + d * 7 + e * 11 + f * 13 + (uint64_t)(x * 1000 + y * 100 + z * 10);
}

// A value is read before and after its variable changes.
NOINLINE static int order(const int *p, int n) {
  int i = 0, sum = 0;
  while (i < n) {
    int before = i;
    sum += p[i] * i++ + before;
    bool less = i < n;
    i = i + (less ? 1 : 0);
    sum ^= before + i * 3;
    sum += less;
  }
  return sum;
}

// Entered in the middle: no loop has a header.
NOINLINE static int irreducible(int n, int start) {
  int a = 0, b = 1;
  if (start) goto middle;
top:
  a += b;
  if (a > 1000000) return a;
middle:
  b = b * 3 + a % 7;
  if (--n > 0) goto top;
  return a * 31 + b;
}

static jmp_buf buffer;

NOINLINE static void jump(int n) {
  long x = n;
  for (int i = 0; i < 10; i++) x = x * 3 + i;
  if (x & 1) longjmp(buffer, n + 1);
  longjmp(buffer, n + 2);
}

// What is not changed after `setjmp` keeps its value whatever was done to registers meanwhile.
NOINLINE static long again(long kept, const char *text) {
  volatile int rounds = 0;
  long length = (long)strlen(text);
  int code = setjmp(buffer);
  rounds = rounds + 1;
  if (rounds < 5) jump(rounds);
  return kept * 100 + length * 10 + code + rounds;
}

// More arguments than registers, some of floating point, all used in loops.
NOINLINE static double many(long a, int b, double c, long d, float e, long f, long g, int h, long i, double j, short k) {
  double sum = 0;
  for (long at = 0; at < a; at++)
    for (int in = 0; in < b; in++) sum += c * d + e * f - g * h + i * j + k + at - in;
  return sum;
}

// Narrow variables wrap.
NOINLINE static unsigned narrow(int n) {
  unsigned char a = 250;
  short b = 32000;
  bool flag = false;
  unsigned sum = 0;
  for (int i = 0; i < n; i++) {
    a += 3;
    b += 1000;
    flag = !flag;
    sum = sum * 31 + a + (flag ? b : -b);
  }
  return sum;
}

// Division, shifts and copies want registers of their own.
NOINLINE static unsigned wanted(unsigned n) {
  unsigned a = 7, b = 3, c = 1, d = 2, e = 5, f = 11, g = 13;
  char from[200], to[200];
  for (unsigned i = 0; i < sizeof from; i++) from[i] = (char)(i * 7);
  for (unsigned i = 1; i < n; i++) {
    a = a * 5 / i + b;
    b = (b << (i & 15)) ^ (a >> (c & 7));
    c += a % (d | 1);
    d = d * e + f;
    memcpy(to, from, 100 + i % 100);
    e ^= (unsigned char)to[i % 100];
    f = f / g + e;
    g = (g % 17) + 2;
  }
  return a + b + c + d + e + f + g;
}

int main() {
  printf("%ld\n", handlers(40));
  for (int i = 0; i < 5; i++) try {
      printf("%ld\n", deep(4, i, 2, 3, 4));
    } catch (long value) {
      printf("out %ld\n", value);
    }
  printf("%llu\n", (unsigned long long)rotate(1, 2, 3, 4, 5, 6, 1000));
  int numbers[50];
  for (int i = 0; i < 50; i++) numbers[i] = i * i % 23;
  printf("%d\n", order(numbers, 50));
  printf("%d %d\n", irreducible(9, 0), irreducible(9, 1));
  printf("%ld\n", again(42, "seven letters"));
  printf("%.3f\n", many(5, 6, 1.5, 4, 2.5f, 6, 7, 8, 9, 10.5, 11));
  printf("%u\n", narrow(1000));
  printf("%u\n", wanted(500));
}
