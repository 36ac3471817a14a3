#include <stdarg.h>
#include <stdio.h>
struct pair { long a, b; };
struct big { double d[5]; };
static double sum(const char *types, ...) {
  va_list list, copy;
  va_start(list, types);
  va_copy(copy, list);
  double total = 0;
  for (const char *t = types; *t; t++) switch (*t) {
      case 'i': total += va_arg(list, int); break;
      case 'l': total += va_arg(list, long); break;
      case 'd': total += va_arg(list, double); break;
      case 'L': total += va_arg(list, long double); break;
      case 'p': { struct pair p = va_arg(list, struct pair); total += p.a * p.b; break; }
      case 'b': { struct big b = va_arg(list, struct big); total += b.d[0] + b.d[4]; break; }
      case 's': total += va_arg(list, const char *)[0]; break;
    }
  total += va_arg(copy, int);
  va_end(copy);
  va_end(list);
  return total;
}
static int forward(char *into, const char *format, ...) {
  va_list list;
  va_start(list, format);
  int n = vsprintf(into, format, list);
  va_end(list);
  return n;
}
int main(void) {
  char text[200];
  struct pair p = {3, 4};
  struct big b = {{1, 2, 3, 4, 5}};
  printf("%g\n", sum("iiiiiiiiii", 1, 2, 3, 4, 5, 6, 7, 8, 9, 10));
  printf("%g\n", sum("idididididididididid", 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5, 6, 6.5, 7, 7.5, 8, 8.5, 9, 9.5, 10, 10.5));
  printf("%g\n", sum("ipbLsld", 1, p, b, 2.25L, "A", 1L << 40, 0.5));
  int n = forward(text, "%s %d %.3f %Lg %c %lld %x", "text", -1, 3.14159, 2.5L, 'c', 1LL << 50, 0xbeef);
  printf("%d %s\n", n, text);
  return 0;
}
