// What LLVM's C API has no call for, as a narrow C interface. See src/ffi for the safe side.
//
// Rules: a context, its modules and its batches belong to one thread at a time. Buffers handed out are freed with
// kiln_bytes_free. Functions that can fail return false and fill the error.
#ifndef KILN_SHIM_H
#define KILN_SHIM_H

#include <cstddef>
#include <cstdint>

extern "C" {

struct KilnBytes {
  uint8_t *data;
  size_t size;
};

enum KilnErrorKind : uint32_t {
  KilnInvalidIr = 1,
  KilnRejected = 2,
  KilnUnsupported = 3,
  KilnNewerProducer = 4,
};

struct KilnError {
  uint32_t kind;
  uint32_t function; // ~0: none in particular
  KilnBytes message;
};

struct KilnContext;
struct KilnModule;
struct KilnBatch;

typedef void (*KilnFatal)(bool out_of_memory, const char *reason);

void kiln_bytes_free(KilnBytes bytes);
void kiln_initialise(KilnFatal fatal);
KilnBytes kiln_llvm_version();
KilnBytes kiln_host_cpu();

KilnContext *kiln_context_new(bool keep_names);
void kiln_context_free(KilnContext *context);

// `data` stays with the caller and must outlive the module. `named`: part of a module, whose values have their id symbols
// for names.
KilnModule *kiln_module_open(KilnContext *context, const uint8_t *data, size_t size, bool named, KilnError *error);
void kiln_module_free(KilnModule *module);
uint32_t kiln_module_functions(const KilnModule *module);
// Whether the function has a body that is meant to be compiled (available_externally is not).
bool kiln_module_is_defined(const KilnModule *module, uint32_t function);

struct KilnCallee {
  uint32_t function;
  // How likely one activation of the caller is to call it, 0 to 1, as far as the shape of the code tells.
  float likelihood;
};

// Reads a body. `callees` are the defined functions it calls directly, in order, once each; valid until the next call.
bool kiln_module_read(KilnModule *module, uint32_t function, uint32_t *instructions, const KilnCallee **callees,
                      size_t *count, KilnError *error);

KilnBatch *kiln_batch_new(KilnModule *module, bool full, const uint32_t *opaque, size_t opaque_count);
void kiln_batch_free(KilnBatch *batch);
// Moves a function into the batch and verifies it there.
bool kiln_batch_add(KilnBatch *batch, uint32_t function, KilnError *error);
KilnBytes kiln_batch_text(const KilnBatch *batch);

struct KilnCompiled {
  KilnBytes object;
  const uint32_t *globals; // of the batch
  size_t globals_count;
  const uint32_t *visible; // of the batch
  size_t visible_count;
  uint64_t passes_ns;
  uint64_t codegen_ns;
};

// Once per batch.
bool kiln_batch_compile(KilnBatch *batch, KilnCompiled *compiled, KilnError *error);

struct KilnNormalised {
  KilnBytes bitcode;
  KilnBytes assembly; // data is null if there was none
};

bool kiln_normalise(const uint8_t *data, size_t size, const char *name, KilnNormalised *normalised, KilnError *error);
}

#endif
