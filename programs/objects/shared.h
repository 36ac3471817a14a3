// What both units of the program define: linkers keep one copy of each.
#include <cstdio>
#include <stdexcept>
#include <string>

template <class T> struct Counter {
    static T count;
    static T next() {
        static T base = T(count + 3);
        return base + count++;
    }
};
template <class T> T Counter<T>::count = 5;

inline int calls() {
    static int count;
    return ++count;
}

inline thread_local int per_thread = 40;
// Made when a thread first asks for it, which takes a guard in each thread.
inline thread_local std::string per_thread_text = "made late";

template <class T> int length_of_complaint(T x) {
    try {
        if (x > 3) throw std::runtime_error("too large");
        return 1;
    } catch (const std::exception &error) {
        return int(std::string(error.what()).size());
    }
}

template <class T> T chosen_by_table(T x) {
    switch (x) {
    case 0: return 5;
    case 1: return 9;
    case 2: return 11;
    case 3: return 17;
    case 4: return 3;
    case 5: return 12;
    default: return T(length_of_complaint(x));
    }
}

struct Shape {
    explicit Shape(int size);
    virtual ~Shape();
    virtual int area() const { return size; }
    int size;
};

struct Square : Shape {
    explicit Square(int size) : Shape(size) {}
    int area() const override { return size * size; }
};

int other_calls();
int other_counter();
int *other_per_thread();
std::string &other_text();
int other_table(int x);
Shape *other_shape();
extern "C" int tentative[4];
extern "C" int fill_tentative(int x);
