// Conversions at their limits, wide integers, bits.
#include <math.h>
#include <stdint.h>
#include <stdio.h>

typedef unsigned __int128 u128;
typedef __int128 i128;

static void wide(u128 n) { printf("%016llx%016llx\n", (unsigned long long)(n >> 64), (unsigned long long)n); }

__attribute__((noinline)) static void integers(u128 a, u128 b, int shift) {
    wide(a + b), wide(a - b), wide(a * b), wide(a / (b | 1)), wide(a % (b | 1));
    wide((u128)((i128)a / (i128)(b | 1))), wide((u128)((i128)a % (i128)(b | 1)));
    wide(a << shift), wide(a >> shift), wide((u128)((i128)a >> shift));
    printf("%d %d %d %d %d\n", a < b, (i128)a < (i128)b, a == b, a >= b, (i128)a <= (i128)b);
}

__attribute__((noinline)) static void doubles(double d) {
    printf("%d %u %lld %d %u\n", (int)d, (unsigned)d, (long long)d, (short)d, (unsigned short)d);
    printf("%llu\n", (unsigned long long)(d < 0 ? -d : d));
    printf("%g %g %g %g\n", floor(d), ceil(d), fabs(d), sqrt(fabs(d)));
    printf("%d %d %d %d\n", d < 1, d >= 1, d == 1, d != 1);
}

__attribute__((noinline)) static void to_floats(uint64_t n) {
    printf("%.20g %.20g %.20g %.20g\n", (double)n, (double)(int64_t)n, (double)(float)n, (double)(float)(int64_t)n);
    printf("%.20g %.20g\n", (double)(uint32_t)n, (double)(uint8_t)n);
}

__attribute__((noinline)) static void bits(uint64_t n) {
    printf("%d %d %d\n", n ? __builtin_clzll(n) : 64, n ? __builtin_ctzll(n) : 64, __builtin_popcountll(n));
    printf("%llx %x %x\n", (long long)__builtin_bswap64(n), __builtin_bswap32((uint32_t)n), __builtin_bswap16((uint16_t)n));
    int64_t sum, product;
    int a = __builtin_add_overflow((int64_t)n, (int64_t)n, &sum);
    int b = __builtin_mul_overflow((int64_t)n, (int64_t)3, &product);
    printf("%d %d %lld %lld\n", a, b, (long long)sum, (long long)product);
    printf("%x %llx\n", (uint32_t)n << 7 | (uint32_t)n >> 25, (long long)(n << (n & 63) | n >> (-n & 63)));
}

int main(void) {
    uint64_t all[] = {0, 1, 2, 0x7f, 0x80, 0xff, 0x7fffffff, 0x80000000, 0xffffffff, 1ull << 53, (1ull << 53) + 1,
                      (1ull << 63) - 1, 1ull << 63, (1ull << 63) + 1025, ~0ull, 0x0123456789abcdef};
    for (int i = 0; i < 16; i++) {
        to_floats(all[i]);
        bits(all[i]);
        for (int j = 0; j < 16; j += 3) {
            integers((u128)all[i] << 64 | all[j], (u128)all[j] << 60 | all[i], i * 8 + j / 3);
        }
    }
    double numbers[] = {0, -0.0, 0.5, -0.5, 1, 1.5, -1.5, 255, 32767, 60000.75, 1e9, 2e9, -2147483648.0};
    for (int i = 0; i < 13; i++) doubles(numbers[i] < 0 && numbers[i] > -1 ? numbers[i] : fabs(numbers[i]));
}
