// Atomic accesses to 16 bytes with and without an instruction for them, to odd sizes, and to memory that is not aligned.
//# libs: atomic pthread
//# flags: -Wno-atomic-alignment
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
typedef unsigned __int128 u128;
struct triple { long a, b, c; };
struct pair { long a, b; };
struct __attribute__((packed)) crooked { char before; _Atomic int word; };

static void show(const char *what, u128 x) {
  printf("%s %016llx%016llx\n", what, (unsigned long long)(x >> 64), (unsigned long long)x);
}

#define OPERATIONS(NAME, TARGET)                                                                                     \
  TARGET __attribute__((noinline)) static void NAME(_Atomic u128 *p, u128 v) {                                       \
    show(#NAME " load", atomic_load(p));                                                                             \
    show("add", atomic_fetch_add(p, v));                                                                             \
    show("sub", atomic_fetch_sub_explicit(p, v * 3, memory_order_relaxed));                                          \
    show("or", atomic_fetch_or_explicit(p, v << 70, memory_order_acq_rel));                                          \
    show("and", atomic_fetch_and_explicit(p, ~v, memory_order_release));                                             \
    show("xor", atomic_fetch_xor_explicit(p, v << 3, memory_order_acquire));                                         \
    show("nand", __atomic_fetch_nand((u128 *)p, v, __ATOMIC_SEQ_CST));                                               \
    show("max", __atomic_fetch_max((u128 *)p, v << 64, __ATOMIC_SEQ_CST));                                           \
    show("smin", __atomic_fetch_min((__int128 *)p, (__int128)v - 1000, __ATOMIC_SEQ_CST));                           \
    show("exchange", atomic_exchange(p, v << 64 | 5));                                                               \
    u128 expected = 7;                                                                                               \
    printf("%d ", atomic_compare_exchange_strong(p, &expected, v));                                                  \
    show("found", expected);                                                                                         \
    printf("%d ", atomic_compare_exchange_strong_explicit(p, &expected, v, memory_order_acq_rel,                     \
                                                          memory_order_relaxed));                                    \
    show("found", expected);                                                                                         \
    atomic_store(p, v + 1);                                                                                          \
    atomic_store_explicit(p, v + 2, memory_order_release);                                                           \
    show("store", atomic_load_explicit(p, memory_order_relaxed));                                                    \
  }
OPERATIONS(library, )
OPERATIONS(exchange, __attribute__((target("cx16"))))
OPERATIONS(moves, __attribute__((target("cx16,avx"))))

/* Both halves are always equal, whoever looks. */
static _Atomic u128 shared;
__attribute__((target("cx16"))) static void *counts(void *arg) {
  long torn = 0;
  for (int i = 0; i < 20000; i++) {
    u128 old = atomic_fetch_add(&shared, (u128)1 << 64 | 1);
    torn += (unsigned long)(old >> 64) != (unsigned long)old;
    u128 seen = atomic_load(&shared);
    torn += (unsigned long)(seen >> 64) != (unsigned long)seen;
  }
  return (void *)torn;
}

static _Atomic u128 crossing;
static void *counts_by_library(void *arg) {
  for (int i = 0; i < 5000; i++) {
    u128 old = atomic_load(&crossing);
    while (!atomic_compare_exchange_weak(&crossing, &old, old + ((u128)1 << 64 | 1))) {}
  }
  return 0;
}

int main(void) {
  _Atomic u128 word = (u128)0x0123456789abcdef << 64 | 0xfedcba9876543210;
  library(&word, (u128)0x1111 << 60 | 0x77);
  exchange(&word, (u128)0x2222 << 62 | 0x55);
  moves(&word, (u128)0x3333 << 63 | 0x33);

  pthread_t threads[4];
  for (int i = 0; i < 4; i++) pthread_create(&threads[i], 0, i % 2 ? counts : counts_by_library, 0);
  long torn = 0;
  for (int i = 0; i < 4; i++) {
    void *result;
    pthread_join(threads[i], &result);
    torn += (long)result;
  }
  show("threads", atomic_load(&shared));
  show("threads", atomic_load(&crossing));
  printf("torn %ld\n", torn);

  _Atomic struct triple t;
  atomic_store(&t, ((struct triple){1, 2, 3}));
  struct triple other = atomic_exchange(&t, ((struct triple){4, 5, 6})), now = atomic_load(&t);
  printf("%ld %ld %ld %ld\n", other.a, other.c, now.a, now.c);
  printf("%d\n", atomic_compare_exchange_strong(&t, &other, now));
  _Atomic struct pair p;
  atomic_store(&p, ((struct pair){1, 2}));
  struct pair found = {1, 2};
  printf("%d", atomic_compare_exchange_strong(&p, &found, ((struct pair){8, 9})));
  found = atomic_load(&p);
  printf(" %ld %ld\n", found.a, found.b);

  struct crooked c = {1, 40};
  printf("%d ", atomic_fetch_add(&c.word, 2));
  printf("%d ", atomic_exchange(&c.word, 9));
  printf("%d\n", atomic_load(&c.word));
  _Atomic double d = 1.5;
  _Atomic float f = 2.5f;
  d += 0.25;
  f -= 1.0f;
  printf("%g %g", __atomic_fetch_add((double *)&d, 2.0, __ATOMIC_SEQ_CST), atomic_exchange(&f, 3.0f));
  printf(" %g %g\n", atomic_load(&d), atomic_load(&f));
  printf("%g ", __atomic_fetch_max((double *)&d, 9.0, __ATOMIC_SEQ_CST));
  printf("%g\n", atomic_load(&d));
  _Atomic(__float128) q = 1.0;
  q = q + 2.0;
  printf("%g\n", (double)atomic_load(&q));
  _Atomic(long double) l = 1.25L;
  l += 1.0L;
  printf("%Lg\n", atomic_load(&l));
  return 0;
}
