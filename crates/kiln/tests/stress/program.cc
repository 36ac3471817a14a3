// A thousand functions that are replaced, and everything that calls them.

#include <cstdlib>
#include <search.h>

#include "stamp.h"

#define TEN(X, N) X(N##0) X(N##1) X(N##2) X(N##3) X(N##4) X(N##5) X(N##6) X(N##7) X(N##8) X(N##9)
#define HUNDRED(X, N) \
    TEN(X, N##0) TEN(X, N##1) TEN(X, N##2) TEN(X, N##3) TEN(X, N##4) TEN(X, N##5) TEN(X, N##6) TEN(X, N##7) \
    TEN(X, N##8) TEN(X, N##9)
#define THOUSAND(X) \
    HUNDRED(X, 0) HUNDRED(X, 1) HUNDRED(X, 2) HUNDRED(X, 3) HUNDRED(X, 4) HUNDRED(X, 5) HUNDRED(X, 6) HUNDRED(X, 7) \
    HUNDRED(X, 8) HUNDRED(X, 9)

static thread_local int way_of_callback, seen_by_callback, cleaned;

extern "C" void fail(int version) { throw version; }
extern "C" void clean(void) noexcept { cleaned++; }

#define FUNCTIONS(N)                                                  \
    STAMP(stamp##N, 0)                                                \
    extern "C" int direct##N(int way) { return stamp##N(way); }       \
    extern "C" int caught##N(int way) {                               \
        try {                                                         \
            return stamp##N(way);                                     \
        } catch (int version) {                                       \
            return version;                                           \
        }                                                             \
    }                                                                 \
    static int callback##N(const void *, const void *) {              \
        seen_by_callback = stamp##N(way_of_callback);                 \
        return 0;                                                     \
    }
THOUSAND(FUNCTIONS)

using Stamp = int (*)(int);
using Callback = int (*)(const void *, const void *);
#define NAME_STAMP(N) stamp##N,
#define NAME_DIRECT(N) direct##N,
#define NAME_CAUGHT(N) caught##N,
#define NAME_CALLBACK(N) callback##N,
Stamp stamps[] = {THOUSAND(NAME_STAMP)};
Stamp directs[] = {THOUSAND(NAME_DIRECT)};
Stamp caughts[] = {THOUSAND(NAME_CAUGHT)};
Callback callbacks[] = {THOUSAND(NAME_CALLBACK)};

enum How { DIRECTLY, BY_POINTER, CAUGHT_NEARBY, BY_QSORT, BY_BSEARCH, BY_LFIND, HOWS };

static int reach(int function, int how, int way) {
    int pair[] = {1, 1};
    std::size_t two = 2;
    seen_by_callback = -1;
    way_of_callback = way;
    switch (how) {
    case DIRECTLY:
        return directs[function](way);
    case BY_POINTER:
        return stamps[function](way);
    case CAUGHT_NEARBY:
        return caughts[function](way);
    case BY_QSORT:
        std::qsort(pair, 2, sizeof pair[0], callbacks[function]);
        break;
    case BY_BSEARCH:
        std::bsearch(pair, pair, 2, sizeof pair[0], callbacks[function]);
        break;
    default:
        lfind(pair, pair, &two, sizeof pair[0], callbacks[function]);
        break;
    }
    return seen_by_callback;
}

// The version of a function that a call meets; -2 if a frame was left without its destructors.
extern "C" int version_met(int function, int how, int way) {
    int met;
    cleaned = 0;
    try {
        met = reach(function, how, way);
    } catch (int version) {
        met = version;
    }
    return cleaned == (way == THROWN_THROUGH) ? met : -2;
}
