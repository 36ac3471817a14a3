#include "shared.h"

int other_calls() { return calls(); }
int other_counter() { return Counter<int>::next() + length_of_complaint(4); }
int *other_per_thread() { return &per_thread; }
std::string &other_text() { return per_thread_text; }
int other_table(int x) { return chosen_by_table(x) + chosen_by_table(9); }
Shape *other_shape() { return new Square(8); }
int overridden() { return 2; }
__attribute__((constructor(160))) static void construct() { std::printf("constructor at 160\n"); }
