#include <stdint.h>
#include <stdio.h>
static uint64_t rotate(uint64_t x, unsigned char by) {
  __asm__("rolq %%cl, %0" : "+r"(x) : "c"(by) : "cc");
  return x;
}
static int add_with_carry(uint32_t a, uint32_t b, uint32_t *sum) {
  int carry;
  __asm__("addl %3, %1\n\tsetc %b0\n\tmovzbl %b0, %0" : "=&q"(carry), "=r"(*sum) : "1"(a), "rm"(b) : "cc");
  return carry;
}
static int jump(int x) {
  __asm__ goto("testl %0, %0\n\tjs %l1" : : "r"(x) : "cc" : negative);
  return 1;
negative:
  return -1;
}
int main(void) {
  uint32_t a, b, c, d, sum, leaf = 0;
  __asm__ volatile("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "0"(leaf));
  int carry = add_with_carry(0xffffffffu, 2, &sum);
  __asm__ volatile("" ::: "memory");
  printf("%d %llx %d %u %d %d\n", a > 0, (unsigned long long)rotate(0xf0, 60), carry, sum, jump(5), jump(-5));
  return 0;
}
