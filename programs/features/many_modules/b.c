extern int counter;
int exported(int);
int shared_function(int x);
static int local(int x) { return x * 3 + counter++; }
int (*const table[3])(int) = {exported, shared_function, local};
int (*pointer_of_b(void))(int) { return exported; }
