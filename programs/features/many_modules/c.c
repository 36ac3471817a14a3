int exported(int);
static int local(int x) { return x * 5; }
int shared_function(int x) { return local(x) + exported(x); }
const char *const names[] = {"exported", "shared", "local"};
