// Everything an initialiser can hold: addresses with offsets, differences, unions, bit-fields, wide strings, recursion.
#include <stddef.h>
#include <stdio.h>
#include <wchar.h>
static int array[10] = {[3] = 33, [7] = 77};
static int *const middle = &array[3], *const end = array + 10;
static const ptrdiff_t distance = &array[7] - &array[3];
struct node { struct node *next; int value; int (*get)(const struct node *); };
static int get(const struct node *n) { return n->value; }
static struct node third, second = {&third, 2, get}, third = {&second, 3, get};
union number { double d; long l; struct { unsigned low : 4, high : 12; } bits; };
static union number numbers[] = {{.d = 1.0}, {.l = -1}, {.bits = {5, 1000}}};
static const wchar_t wide[] = L"wide \u20ac";
static const char *const texts[] = {"one", "two" " and more", &"offset"[3]};
static const struct __attribute__((packed)) { char c; int i; double d; } packed = {1, 2, 3.5};
static _Complex double z = 1.5 + 2.5i;
static float floats[] = {0.1f, 1e-45f, __builtin_inff(), -0.0f};
static char zeros[100000], *last = &zeros[99999];
static const long addresses = (long)&array[1] + 8;
static void *volatile nothing;
const unsigned char bytes[] = {0, 255, 'a', 0};
int main(void) {
  printf("%d %td %td %d\n", *middle, end - middle, distance, third.next->next == &third);
  printf("%d %g %ld %u %zu\n", third.next->get(third.next), numbers[0].d, numbers[1].l, numbers[2].bits.high, wcslen(wide));
  printf("%s %s %s %g %d\n", texts[0], texts[1], texts[2], packed.d, (int)sizeof packed);
  printf("%g %g %g %g %g %g\n", __real__ z, __imag__ z, floats[0], floats[1], floats[2], 1 / floats[3]);
  printf("%d %d %d %d\n", last - zeros == 99999, addresses == (long)&array[3], nothing == 0, bytes[1]);
  return 0;
}
