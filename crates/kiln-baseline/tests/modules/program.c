#include <stddef.h>
#include <stdint.h>

int tentative;
extern int elsewhere;
extern int maybe __attribute__((weak));
int function(int);
const char text[] = "text";
float _Complex complex_number = 1.0f + 2.0if;
struct bits { unsigned a : 3, b : 13; int64_t c : 40; } bits = {5, 1000, -3};
struct flexible { int n; char rest[]; } flexible = {3, "abc"};
union mixed { double d; char c[3]; } mixed = {.c = "xy"};
void *pointers[] = {&tentative, (char *)&bits + 3, NULL, &elsewhere, &maybe, &function};
int (*const operations[])(int) = {function, 0};
_Thread_local int per_thread = 42;
_Thread_local char per_thread_zero[64];
_Bool flag = 1;
long double wide = 1.25L;
const char *const names[] = {"alpha", "beta", text};
static int counter = 5;
int *where = &counter;
__attribute__((weak)) int weak_variable = 3;
__attribute__((section("my_list"))) const void *entry = &weak_variable;
__attribute__((aligned(128), visibility("hidden"))) short placed = 7;
struct list { struct list *next; int value; } one, two = {&one, 2}, one = {&two, 1};
int function(int x) { return x + counter; }
