//# flags: -fstack-protector-strong
// Functions with a word between their objects and the return address: they work as without, and one that writes over its
// frame is stopped before it returns.
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static jmp_buf back;

__attribute__((noinline)) static int filled(const char *text, int count) {
    char buffer[24];
    snprintf(buffer, sizeof buffer, "%s-%d", text, count);
    return (int)strlen(buffer) + (count > 0 ? filled(text, count - 1) : 0);
}

__attribute__((noinline)) static int dynamic(int count) {
    char *room = __builtin_alloca((unsigned)count);
    memset(room, count, (unsigned)count);
    int sum = 0;
    for (int at = 0; at < count; at++)
        sum += room[at];
    return sum;
}

__attribute__((noinline)) static int variadic(int count, ...) {
    int numbers[8];
    va_list list;
    va_start(list, count);
    for (int at = 0; at < count; at++)
        numbers[at] = va_arg(list, int);
    va_end(list);
    int sum = 0;
    for (int at = 0; at < count; at++)
        sum = sum * 3 + numbers[at];
    return sum;
}

struct pair {
    double first[2];
    long second;
};

__attribute__((noinline)) static struct pair pairs(double seed) {
    struct pair made = {{seed, seed * 2}, (long)seed};
    return made;
}

__attribute__((noinline)) static long double wide(double seed) {
    long double numbers[3] = {seed, seed / 3, seed * 7};
    return numbers[(int)seed % 3];
}

__attribute__((noinline)) static int last(int *numbers) { return numbers[0] + numbers[1]; }

__attribute__((noinline)) static int calls_last(int seed) {
    int numbers[2] = {seed, seed * 2};
    return last(numbers);
}

static int (*volatile through)(int) = calls_last;

__attribute__((noinline)) static int calls_an_address(int seed) {
    char text[16];
    snprintf(text, sizeof text, "%d", seed);
    return through(atoi(text));
}

__attribute__((noinline)) static void leaves(int code) {
    char buffer[16];
    snprintf(buffer, sizeof buffer, "%d", code);
    longjmp(back, atoi(buffer));
}

__attribute__((noinline)) static int overflows(volatile int bytes) {
    char buffer[16];
    char *volatile to = buffer;
    for (int at = 0; at < bytes; at++)
        to[at] = 'x';
    return buffer[3];
}

static int ending(int bytes) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        close(2);
        char room[512];
        memset(room, 0, sizeof room);
        int got = overflows(bytes);
        _exit(got == 'x' && room[5] == 0 ? 3 : 4);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return status;
}

int main(void) {
    printf("%d %d %d\n", filled("text", 12), dynamic(50), variadic(5, 1, 2, 3, 4, 5));
    struct pair made = pairs(4.5);
    printf("%g %g %ld %Lg\n", made.first[0], made.first[1], made.second, wide(7.0));
    printf("%d %d\n", calls_last(20), calls_an_address(13));
    int code = setjmp(back);
    if (code == 0)
        leaves(17);
    printf("%d\n", code);
    int status = ending(16);
    printf("within: exit %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
    status = ending(256);
    printf("beyond: signal %d\n", WIFSIGNALED(status) ? WTERMSIG(status) : -1);
    return 0;
}
