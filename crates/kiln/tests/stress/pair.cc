// Versions of two functions that change together.

#include "stamp.h"

STAMP(stampNNN, 0x12345678)
STAMP(stampMMM, 0x12345678)
