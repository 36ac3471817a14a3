// A program of two C++ units and a C one, with every kind of symbol and section that an object file can hold.
#include "shared.h"

#include <vector>

Shape::Shape(int size) : size(size) {}
Shape::~Shape() {}

__attribute__((weak)) int overridden() { return 1; }
extern "C" __attribute__((visibility("hidden"))) int hidden() { return 11; }
extern "C" __attribute__((visibility("protected"))) int guarded() { return 12; }
__attribute__((visibility("protected"))) int guarded_data = 13;

struct Announced {
    explicit Announced(const char *name) { std::printf("made %s\n", name); }
};
__attribute__((init_priority(1000))) Announced late("at 1000");
__attribute__((init_priority(200))) Announced early("at 200");
Announced last("last");
__attribute__((constructor(150))) static void construct() { std::printf("constructor at 150\n"); }
__attribute__((destructor(150))) static void destroy_later() { std::printf("destructor at 150\n"); }
__attribute__((destructor(2500))) static void destroy() { std::printf("destructor at 2500\n"); }

__attribute__((section("listed"), used)) static int listed[2] = {1, 2};
__attribute__((section(".own.code"))) int in_own_section(int x) { return x + 7; }
extern const int own_constant;
__attribute__((section(".own.constants"))) const int own_constant = 9;
__attribute__((section(".own.pointers"))) extern const int *const own_pointer;
__attribute__((section(".own.pointers"))) const int *const own_pointer = &own_constant;

extern "C" int original() { return 77; }
extern "C" int other_name() __attribute__((alias("original")));
extern "C" int weak_name() __attribute__((weak, alias("original")));
int variable = 4;
extern int variable_name __attribute__((alias("variable")));

extern "C" {
static int fast() { return 100; }
static int (*resolve())() { return fast; }
int at_load() __attribute__((ifunc("_ZL7resolvev")));
int missing() __attribute__((weak));
}

int (*table[])() = {at_load, other_name, weak_name, overridden};
extern int __start_listed[], __stop_listed[];

int main() {
    Square square(6);
    Shape *shape = &square;
    std::printf("%d %d %ld\n", shape->area(), Counter<int>::next(), Counter<long>::next());
    std::printf("%d %d %d\n", calls(), other_calls(), calls());
    std::printf("%d\n", other_counter());
    per_thread += 2;
    std::printf("%d %d\n", *other_per_thread(), other_per_thread() == &per_thread);
    per_thread_text += ", and longer";
    std::printf("%s %d\n", other_text().c_str(), &other_text() == &per_thread_text);
    std::printf("%d %d\n", length_of_complaint(5), length_of_complaint(1.5));
    std::printf("%d %d %d\n", other_table(3), other_table(9), chosen_by_table(4));
    std::printf("%d %d %d %d %d\n", overridden(), hidden(), guarded(), guarded_data, missing ? missing() : -1);
    std::printf("%d %d\n", in_own_section(1), *own_pointer);
    int sum = 0;
    int *volatile stop = __stop_listed;
    for (int *item = __start_listed; item != stop; item++) sum += *item;
    std::printf("%d\n", sum);
    for (auto function : table) std::printf("%d ", function());
    std::printf("%d %d %d\n", at_load(), other_name(), variable_name);
    std::printf("%d %d\n", fill_tentative(3), tentative[1]);
    std::vector<std::string> words;
    for (int i = 0; i < 5; i++) words.push_back(std::to_string(i));
    std::printf("%s\n", words[3].c_str());
    Shape *another = other_shape();
    try {
        std::printf("%d\n", dynamic_cast<Square &>(*another).area());
        delete another;
        throw Square(3);
    } catch (const Shape &caught) {
        std::printf("%d\n", caught.area());
    }
}
