// Objects on the stack: aligned, dynamic, large; structures by value; atomics; overlapping copies.
#include <alloca.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef struct { long a; double b; } Pair;
typedef struct { long a[5]; } Large;
typedef struct { char c; short s; } Small;
typedef struct { float x, y, z; } Floats;

__attribute__((noinline)) static Pair pair(Pair p, int n) { return (Pair){p.a + n, p.b * n}; }
__attribute__((noinline)) static Large large(Large l, int n) {
    for (int i = 0; i < 5; i++) l.a[i] += n * i;
    return l;
}
__attribute__((noinline)) static Small small(Small s) { return (Small){(char)(s.c + 1), (short)(s.s - 1)}; }
__attribute__((noinline)) static Floats floats(Floats f, float k) { return (Floats){f.x * k, f.y + k, f.z - k}; }
__attribute__((noinline)) static long spread(int a, Large l, long b, long c, long d, long e, long f, Pair p, char g) {
    return a + l.a[4] + b + c + d + e + f + p.a + (long)p.b + g;
}

__attribute__((noinline)) static long dynamic(int n) {
    long total = 0;
    for (int i = 1; i < n; i++) {
        char *bytes = alloca(i * 1000);
        memset(bytes, i, i * 1000);
        char more[i];
        memset(more, 1, i);
        total += bytes[i * 1000 - 1] + more[i - 1];
    }
    return total;
}

__attribute__((noinline)) static int aligned(int n) {
    _Alignas(128) volatile char block[200];
    _Alignas(32) int numbers[8];
    for (int i = 0; i < 8; i++) numbers[i] = n + i;
    block[0] = (char)n;
    return (int)((uintptr_t)block % 128 + (uintptr_t)numbers % 32) + numbers[7] + block[0];
}

__attribute__((noinline)) static int deep(int n) {
    volatile char big[20000];
    big[0] = (char)n;
    big[19999] = 1;
    return n == 0 ? 0 : deep(n - 1) + big[19999];
}

static _Atomic long counter;
static _Atomic unsigned char byte;
static _Atomic int word;

int main(void) {
    Pair p = pair((Pair){3, 1.5}, 4);
    Large l = large((Large){{1, 2, 3, 4, 5}}, 7);
    Small s = small((Small){10, -10});
    Floats f = floats((Floats){1, 2, 3}, 2.5f);
    printf("%ld %g %ld %ld %d %d %g %g %g\n", p.a, p.b, l.a[0], l.a[4], s.c, s.s, f.x, f.y, f.z);
    printf("%ld\n", spread(1, l, 2, 3, 4, 5, 6, p, 7));
    printf("%ld %d %d\n", dynamic(40), aligned(5), deep(100));
    atomic_fetch_add(&counter, 5);
    atomic_fetch_sub(&counter, 2);
    long old = atomic_exchange(&counter, 10);
    long expected = 10;
    int won = atomic_compare_exchange_strong(&counter, &expected, 20);
    int lost = atomic_compare_exchange_strong(&counter, &expected, 30);
    unsigned char before = atomic_fetch_or(&byte, 0x0f);
    before += atomic_fetch_xor(&byte, 0xff);
    before += atomic_fetch_and(&byte, 0x70);
    atomic_store(&word, -5);
    atomic_thread_fence(memory_order_seq_cst);
    printf("%ld %d %d %ld %ld %d %d %d\n", old, won, lost, expected, (long)counter, before, (int)byte, (int)word);
    char text[80] = "abcdefghijklmnopqrstuvwxyz0123456789";
    memmove(text + 3, text, 30);
    memmove(text, text + 1, 20);
    memmove(text + 5, text + 2, 7);
    memcpy(text + 40, text, 33);
    printf("%s %.33s\n", text, text + 40);
}
