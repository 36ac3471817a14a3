// A function that tells which version it is, in each way that a function can end.

#pragma once

extern "C" [[noreturn]] void fail(int version);
extern "C" void clean(void) noexcept;

struct Guard {
    ~Guard() { clean(); }
};

enum Way { RETURNS, THROWS, THROWN_THROUGH, CATCHES, WAYS };

#define STAMP(NAME, VERSION)                          \
    extern "C" int NAME(int way) {                    \
        switch (way) {                                \
        case THROWS:                                  \
            throw VERSION;                            \
        case THROWN_THROUGH: {                        \
            Guard guard;                              \
            fail(VERSION);                            \
        }                                             \
        case CATCHES:                                 \
            try {                                     \
                fail(VERSION);                        \
            } catch (int caught) {                    \
                return caught;                        \
            }                                         \
        }                                             \
        return VERSION;                               \
    }
