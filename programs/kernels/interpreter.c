// A switch in a loop: what interpreters do.
#include "kernel.h"

enum { PUSH, ADD, MUL, DUP, SWAP, DEC, LOOP, XOR, END };

static uint64_t work(void) {
  static const unsigned char program[] = {PUSH, 3, DUP, MUL, ADD, XOR, PUSH, 17, ADD, SWAP, DEC, SWAP, LOOP, END};
  uint64_t stack[32] = {1500000, 99, 1};
  int top = 2;
  const unsigned char *at = program;
  for (;;) switch (*at++) {
      case PUSH: stack[++top] = *at++; break;
      case ADD: top--; stack[top] += stack[top + 1]; break;
      case MUL: top--; stack[top] *= stack[top + 1]; break;
      case DUP: stack[top + 1] = stack[top]; top++; break;
      case SWAP: { uint64_t t = stack[0]; stack[0] = stack[top]; stack[top] = t; break; }
      case DEC: stack[top]--; break;
      case XOR: stack[top] ^= stack[1] + (stack[top] >> 7); break;
      case LOOP: if (stack[0]) at = program; break;
      case END: return stack[top] + top;
    }
}
