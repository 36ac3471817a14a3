extern int host_counter;
int host_add(int a, int b);
int host_weak(void);
int enter(int (*callback)(int)) {
  host_counter++;
  return host_add(callback(host_counter), 100) + host_weak();
}
int (*address_of_host_add(void))(int, int) { return host_add; }
static int loaded;
__attribute__((constructor)) static void load(void) { loaded = host_add(1, 2); }
__attribute__((destructor)) static void unload(void) { host_counter += loaded; }
