int tentative = 37;
int tentative_array[16];
int overridden(void) { return 2; }
int weak_data = 200;
__attribute__((weak)) int kept(void) { return 11; }
int from_other(void) { return tentative + kept() + tentative_array[2]; }
int *other_address(void) { return &tentative; }
