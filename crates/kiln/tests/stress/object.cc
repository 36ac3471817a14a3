// An object that is loaded while everything runs: the name and the number are replaced.

extern "C" int objectNNN(int way) { return way + 0x12345678; }
