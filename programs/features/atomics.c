#include <stdatomic.h>
#include <stdio.h>
struct pair { long a, b; };
static _Atomic int word = 5;
static _Atomic unsigned char byte = 250;
static _Atomic(long) wide = 1;
static atomic_flag flag = ATOMIC_FLAG_INIT;
int main(void) {
  int expected = 5;
  int swapped = atomic_compare_exchange_strong(&word, &expected, 9);
  int again = atomic_compare_exchange_weak_explicit(&word, &expected, 1, memory_order_acq_rel, memory_order_relaxed);
  printf("%d %d %d\n", swapped, again, expected);
  printf("%d %d %d\n", atomic_fetch_add(&byte, 10), byte, atomic_exchange(&word, 3));
  printf("%ld %ld %ld %ld\n", atomic_fetch_or(&wide, 6), atomic_fetch_and(&wide, 5), atomic_fetch_xor(&wide, 15), atomic_load(&wide));
  printf("%d %d\n", atomic_flag_test_and_set(&flag), atomic_flag_test_and_set(&flag));
  long max = __atomic_fetch_max(&(long){4}, 9, __ATOMIC_SEQ_CST);
  atomic_thread_fence(memory_order_seq_cst);
  double d = 1.5;
  __atomic_store(&d, &(double){2.5}, __ATOMIC_RELEASE);
  printf("%ld %g\n", max, d);
  return 0;
}
