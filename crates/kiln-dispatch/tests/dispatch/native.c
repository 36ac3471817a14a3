// Callers and bodies that only a C compiler can be trusted to write. Every caller gets the function to call as an
// argument, which is a stub; every body_* is what the stub will lead to.
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef long double ld;

// 14 integers and 12 doubles: six and eight in registers, the others on the stack.
typedef double many_fn(long, double, long, double, long, double, long, double, long, double, long, double, long, double,
                       long, double, long, double, long, double, long, double, long, double, long, long);
double body_many(long a, double b, long c, double d, long e, double f, long g, double h, long i, double j, long k,
                 double l, long m, double n, long o, double p, long q, double r, long s, double t, long u, double v,
                 long w, double x, long y, long z) {
    return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h + 9 * i + 10 * j + 11 * k + 12 * l + 13 * m +
           14 * n + 15 * o + 16 * p + 17 * q + 18 * r + 19 * s + 20 * t + 21 * u + 22 * v + 23 * w + 24 * x + 25 * y +
           26 * z;
}
int call_many(many_fn *f) {
    double expected = 0;
    for (int i = 1; i <= 26; i++) expected += i * (i + 100.0);
    return f(101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111, 112, 113, 114, 115, 116, 117, 118, 119, 120, 121,
             122, 123, 124, 125, 126) == expected;
}

// Variadic: al says how many vector registers hold arguments, and without it the callee saves none of them.
int body_variadic(char *out, const char *format, ...) {
    va_list list;
    va_start(list, format);
    int n = vsprintf(out, format, list);
    va_end(list);
    return n;
}
int call_variadic(int (*f)(char *, const char *, ...)) {
    char out[200];
    int n = f(out, "%d %g %s %g %g %g %g %g %g %g %g %ld %Lg", 1, 2.5, "three", 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0,
              11.0, 12L, 13.5L);
    return n == (int)strlen(out) && !strcmp(out, "1 2.5 three 4 5 6 7 8 9 10 11 12 13.5");
}

// A struct in memory: rdi holds where.
struct big {
    long a[9];
};
struct big body_sret(long x, struct big y) {
    for (int i = 0; i < 9; i++) y.a[i] += x;
    return y;
}
int call_sret(struct big (*f)(long, struct big)) {
    struct big r = f(1000, (struct big){{1, 2, 3, 4, 5, 6, 7, 8, 9}});
    for (int i = 0; i < 9; i++)
        if (r.a[i] != 1001 + i) return 0;
    return 1;
}

// A struct in registers of both classes, in and out.
struct mixed {
    double d;
    long l;
};
struct mixed body_mixed(struct mixed a, struct mixed b) { return (struct mixed){a.d + b.d, a.l * b.l}; }
int call_mixed(struct mixed (*f)(struct mixed, struct mixed)) {
    struct mixed r = f((struct mixed){1.5, 6}, (struct mixed){2.25, 7});
    return r.d == 3.75 && r.l == 42;
}

// long double travels on the stack and returns on the x87 stack; _Complex returns two.
ld body_long_double(ld a, int b, ld c) { return a * b + c; }
int call_long_double(ld (*f)(ld, int, ld)) { return f(1.25L, 8, 0x1p-60L) == 10.0L + 0x1p-60L; }
_Complex long double body_complex(_Complex long double a) { return a * a; }
int call_complex(_Complex long double (*f)(_Complex long double)) {
    _Complex long double r = f(3.0L + 4.0iL);
    return __real__ r == -7.0L && __imag__ r == 24.0L;
}

// The static chain is in r10: a nested function without the compiler's help.
long body_chain(void) {
    long chain;
    __asm__("mov %%r10, %0" : "=r"(chain));
    return chain;
}
int call_chain(void *f) {
    long r;
    __asm__ volatile("mov $0x1234567890, %%r10\n\tcall *%1"
                     : "=a"(r)
                     : "r"(f)
                     : "r10", "r11", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "memory", "cc");
    return r == 0x1234567890;
}

int body_compare(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }
int call_qsort(int (*compare)(const void *, const void *)) {
    int a[50];
    for (int i = 0; i < 50; i++) a[i] = i * 37 % 50;
    qsort(a, 50, sizeof *a, compare);
    for (int i = 0; i < 50; i++)
        if (a[i] != i) return 0;
    return 1;
}

// A handler that leaves a first call by siglongjmp, at the moment the signals are let in again.
static sigjmp_buf out;
static void leave(int signal) { siglongjmp(out, signal); }
int escape(int signal, int (*f)(void)) {
    struct sigaction old, action = {.sa_handler = leave};
    sigaction(signal, &action, &old);
    int result = sigsetjmp(out, 1);
    if (result == 0) result = -f();
    sigaction(signal, &old, 0);
    return result;
}

// A thread that is cancelled before its first call, and ends only after it: what the call returned, or -1.
static int (*callee)(void);
static int returned = -1;
static void *thread(void *unused) {
    (void)unused;
    pthread_cancel(pthread_self());
    returned = callee();
    pthread_testcancel();
    return 0;
}
int call_cancelled(int (*f)(void)) {
    pthread_t id;
    void *result;
    callee = f;
    pthread_create(&id, 0, thread, 0);
    pthread_join(id, &result);
    return result == PTHREAD_CANCELED ? returned : -1;
}
