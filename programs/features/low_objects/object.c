extern int twice(int);
const char *const names[3] = {"zero", "one", "two"};
static int (*volatile function)(int) = twice;
static int lengths[8] = {1, 2, 3, 4};
const char *name_of(unsigned i) { return names[(unsigned)function((int)i) / 2 + (unsigned)lengths[i] - (unsigned)lengths[i]]; }
