// Variables whose initial values lead to tables of label addresses.
#include <stdio.h>

struct machine {
    const char *name;
    void *const *table;
    int steps;
};

static int by_pointer(int n) {
    static const void *table[] = {&&ten, &&twenty, &&thirty};
    static const void **start = table;
    static const void *const *const middle = &table[1];
    if (n == 3)
        goto *middle[0];
    goto *start[n];
ten:
    return 10;
twenty:
    return 20;
thirty:
    return 30;
}

static int in_a_structure(const unsigned char *code) {
    static void *const table[] = {&&stop, &&add, &&twice};
    static struct machine machines[] = {{"first", table, 0}, {"second", table + 1, 0}};
    int value = 1;
    machines[0].steps++;
    goto *machines[0].table[*code++];
add:
    value += *code++;
    goto *machines[0].table[*code++];
twice:
    value *= 2;
    goto *machines[1].table[*code++ - 1];
stop:
    printf("%s ran %d times, %s %d times\n", machines[0].name, machines[0].steps, machines[1].name, machines[1].steps);
    return value;
}

int main(void) {
    for (int n = 0; n < 4; n++)
        printf("%d\n", by_pointer(n));
    static const unsigned char code[] = {1, 5, 2, 2, 1, 3, 0};
    printf("%d\n", in_a_structure(code));
    printf("%d\n", in_a_structure(code));
    return 0;
}
