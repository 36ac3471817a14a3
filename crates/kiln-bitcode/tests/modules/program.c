/* Ordinary C: tentative definitions, computed goto, bit-fields, flexible arrays, function pointers. */
#include <complex.h>
#include <stddef.h>
#include <stdint.h>

int tentative;
static int zeroed[1000];
extern int elsewhere;
extern int maybe __attribute__((weak));
const char text[] = "text";
static const double numbers[] = {1.0, 2.5, -0.0};
float _Complex complex_number = 1.0f + 2.0f * I;
_Float16 half = 1.5f16;
struct bits { unsigned a : 3, b : 13; int64_t c : 40; } bits = {5, 1000, -3};
struct flexible { int n; char rest[]; } flexible = {3, "abc"};
union mixed { double d; char c[3]; } mixed = {.c = "xy"};
void *pointers[] = {&tentative, &zeroed[10], (char *)&bits + 3, NULL, &elsewhere, &maybe};
ptrdiff_t difference = sizeof(pointers);
_Thread_local int per_thread = 42;
static _Thread_local char per_thread_zero[64];
_Bool flag = 1;
long double *address(void);

static int add(int a, int b) { return a + b; }
static int sub(int a, int b) { return a - b; }
static int (*const operations[])(int, int) = {add, sub};

int run(const unsigned char *code) {
  static const void *const labels[] = {&&inc, &&dec, &&stop};
  int value = 0;
  goto *labels[*code++];
inc:
  value = operations[0](value, 1);
  goto *labels[*code++];
dec:
  value = operations[1](value, 1);
  goto *labels[*code++];
stop:
  return value + per_thread + per_thread_zero[value & 63] + zeroed[0];
}
