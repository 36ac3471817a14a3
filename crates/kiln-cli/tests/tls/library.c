__thread long theirs = 40;
static __thread long padding[5000];
long *unused(void) { return padding; }
