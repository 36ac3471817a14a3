// Assembly at module level defines a function and a word that C uses.
#include <stdio.h>
__asm__(".text\n.globl from_assembly\n.type from_assembly,@function\nfrom_assembly:\n leal 7(%rdi,%rdi), %eax\n ret\n"
        ".data\n.globl assembly_word\nassembly_word: .quad 99\n.text\n");
extern int from_assembly(int);
extern long assembly_word;
int main(void) {
  assembly_word++;
  printf("%d %ld\n", from_assembly(4), assembly_word);
  return 0;
}
