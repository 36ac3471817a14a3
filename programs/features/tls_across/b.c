__thread int theirs = 1;
int *address(void) { return &theirs; }
int bump(void) { return ++theirs; }
