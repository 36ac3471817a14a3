// One version: the name and the number are replaced in the object.

#include "stamp.h"

STAMP(stampNNN, 0x12345678)
