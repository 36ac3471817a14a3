// Branches of all kinds, calls that return twice, deep tail calls, tables of labels, variable arguments.
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static jmp_buf env;

__attribute__((noinline)) static int twice(int n) {
    int kept = n * 7, other = n ^ 0x55;
    int got = setjmp(env);
    if (got == 0) {
        int a = n + 1, b = n + 2, c = n + 3, d = n + 4, e = n + 5, f = n + 6, g = n + 7, h = n + 8;
        printf("%d\n", a * b + c * d + e * f + g * h);
        longjmp(env, 5);
    }
    return got + kept * 10 + other;
}

static int sparse(long long n) {
    switch (n) {
    case LLONG_MIN: return 1;
    case LLONG_MAX: return 2;
    case -1: return 3;
    case 0: return 4;
    case 1: return 5;
    case 2: return 6;
    case 3: return 7;
    case 1000000000000: return 8;
    default: return 9;
    }
}

static int dense(signed char n) {
    switch (n) {
    case -3: return 10;
    case -2: return 11;
    case -1: return 12;
    case 0: return 13;
    case 2: return 14;
    case 127: return 15;
    case -128: return 16;
    default: return 17;
    }
}

static int threaded(const unsigned char *code) {
    static const void *const table[] = {&&add, &&sub, &&dup, &&end};
    static const int distances[] = {&&add - &&add, &&sub - &&add, &&dup - &&add, &&end - &&add};
    int stack[16] = {0}, top = 0, turns = 0;
#define NEXT                                                                                                           \
    do {                                                                                                               \
        turns++;                                                                                                       \
        if (turns & 1) goto *table[*code++];                                                                           \
        goto *(&&add + distances[*code++]);                                                                            \
    } while (0)
    stack[0] = 3;
    NEXT;
add:
    stack[top] += 10;
    NEXT;
sub:
    stack[top] -= 1;
    NEXT;
dup:
    stack[top + 1] = stack[top] * 2;
    top++;
    NEXT;
end:
    return stack[top] * 100 + turns;
}

__attribute__((noinline)) static double sum(int count, ...) {
    va_list list, copy;
    double total = 0;
    va_start(list, count);
    va_copy(copy, list);
    for (int i = 0; i < count; i++) total += i % 2 ? va_arg(list, double) : va_arg(list, int);
    for (int i = 0; i < count; i++) total += i % 2 ? va_arg(copy, double) : va_arg(copy, int);
    va_end(copy);
    va_end(list);
    return total;
}

#if defined(__OPTIMIZE__)
static int is_odd(unsigned n);
__attribute__((noinline)) static int is_even(unsigned n) { return n == 0 ? 1 : is_odd(n - 1); }
__attribute__((noinline)) static int is_odd(unsigned n) { return n == 0 ? 0 : is_even(n - 1); }
#endif

int main(void) {
    printf("%d %d\n", twice(3), twice(100));
    long long numbers[] = {LLONG_MIN, LLONG_MIN + 1, -2, -1, 0, 1, 2, 3, 4, 1000000000000, LLONG_MAX - 1, LLONG_MAX};
    for (int i = 0; i < 12; i++) printf("%d ", sparse(numbers[i]));
    for (int i = -128; i < 128; i += 1) printf("%d ", dense((signed char)i));
    const unsigned char code[] = {0, 1, 2, 0, 2, 1, 1, 2, 3};
    printf("\n%d\n", threaded(code));
    printf("%g\n", sum(12, 1, 2.5, 3, 4.5, 5, 6.5, 7, 8.5, 9, 10.5, 11, 12.5));
#if defined(__OPTIMIZE__)
    // Much deeper than any stack.
    printf("%d\n", is_even(30000000));
#else
    printf("1\n");
#endif
}
