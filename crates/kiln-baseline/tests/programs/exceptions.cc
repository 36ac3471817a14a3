// Exceptions: types, hierarchies, cleanups, rethrowing, what may not pass, values that live across.
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>

struct Noisy {
    const char *name;
    explicit Noisy(const char *n) : name(n) {}
    ~Noisy() { std::printf("~%s\n", name); }
};

struct Base { virtual ~Base() {} int value = 1; };
struct Derived : Base { Derived() { value = 2; } };

__attribute__((noinline)) static long thrower(int kind, long a, long b) {
    Noisy local("thrower");
    switch (kind) {
    case 0: throw 42;
    case 1: throw std::runtime_error("text");
    case 2: throw Derived();
    case 3: throw a + b;
    case 4: throw "literal";
    }
    return a * b;
}

__attribute__((noinline)) static long middle(int kind, long a) {
    Noisy outer("middle");
    long b = a * 3 + 1;
    try {
        b += thrower(kind, a, b);
    } catch (const char *text) {
        std::printf("const char* %s %ld\n", text, b);
        throw;
    } catch (long n) {
        std::printf("long %ld %ld %ld\n", n, a, b);
        b = -n;
    }
    return b;
}

static int many(int a, int b, int c, int d, int e, int f, double x, int g, int h, int i) {
    if (a == 3) throw a + b + c + d + e + f + g + h + i + (int)x;
    return a + i;
}

static bool never(bool fail) noexcept(false) {
    try {
        if (fail) throw 1.5;
        return true;
    } catch (...) {
        return false;
    }
}

int main() {
    for (int kind = 0; kind < 6; kind++) {
        double kept = kind * 1.5;
        try {
            std::printf("%ld\n", middle(kind, kind + 10));
        } catch (int n) {
            std::printf("int %d %g\n", n, kept);
        } catch (Base &base) {
            std::printf("Base %d %g\n", base.value, kept);
        } catch (std::exception &e) {
            std::printf("exception %s %g\n", e.what(), kept);
        } catch (...) {
            std::printf("something %g\n", kept);
        }
    }
    int sum = 0;
    for (int i = 0; i < 6; i++) {
        try {
            sum += many(i, 2, 3, 4, 5, 6, 7.5, 8, 9, 10);
        } catch (int n) {
            sum += n * 100;
        }
    }
    std::printf("%d %d %d\n", sum, never(true), never(false));
    std::string text = "a";
    try {
        for (int i = 0;; i++) {
            std::string copy = text + std::to_string(i);
            if (i == 5) throw copy;
            text = copy;
        }
    } catch (std::string &last) {
        std::printf("%s %s\n", last.c_str(), text.c_str());
    }
}
