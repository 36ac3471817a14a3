int in_module(int);
int object_data[3] = {1, 2, 3};
static int helper(int x) { return in_module(x) * object_data[1]; }
int from_object(int x) { return helper(x) + in_module(100); }
int (*object_pointer(void))(int) { return in_module; }
__attribute__((constructor)) static void start(void) { object_data[2] = in_module(object_data[2]); }
