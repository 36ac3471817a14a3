// Classes of the calling convention: registers, mixed, memory, floats in pairs, empty, packed, unions, returned through memory.
#include <stdio.h>
typedef struct { int a; } one;
typedef struct { long a, b; } two;
typedef struct { long a, b, c; } three;
typedef struct { float x, y, z; } floats;
typedef struct { double d; long l; } mixed;
typedef struct { char c[3]; } tiny;
typedef struct __attribute__((packed)) { char c; long l; } odd;
typedef union { double d; long l; } either;
typedef struct { long double x; } extended;
static three step(one o, two t, three h, floats f, mixed m, tiny y, odd k, either e, extended x, int tail) {
  return (three){o.a + t.a + h.c, t.b + (long)f.z + m.l + y.c[2], k.l + e.l + (long)x.x + tail};
}
static mixed swap(mixed m) { return (mixed){(double)m.l, (long)m.d}; }
static floats scale(floats f, float by) { return (floats){f.x * by, f.y * by, f.z * by}; }
static tiny next(tiny t) { return (tiny){{t.c[1], t.c[2], t.c[0]}}; }
static extended half(extended x) { return (extended){x.x / 2}; }
int main(void) {
  three (*indirect)(one, two, three, floats, mixed, tiny, odd, either, extended, int) = step;
  three r = indirect((one){1}, (two){2, 3}, (three){4, 5, 6}, (floats){1, 2, 7.5f}, (mixed){2.5, 8}, (tiny){{1, 2, 9}},
                     (odd){1, 10}, (either){.l = 11}, (extended){12.25L}, 13);
  mixed m = swap((mixed){3.75, 42});
  floats f = scale((floats){1, 2, 3}, 1.5f);
  tiny t = next((tiny){{'a', 'b', 'c'}});
  printf("%ld %ld %ld | %g %ld | %g %g %g | %.3s | %Lg\n", r.a, r.b, r.c, m.d, m.l, f.x, f.y, f.z, t.c, half((extended){9}).x);
  return 0;
}
