// Inputs that Kiln's own reader does not take: rewritten once as current bitcode.

#include "shim.h"

#include "llvm/Bitcode/BitcodeReader.h"
#include "llvm/Bitcode/BitcodeWriter.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/IR/Verifier.h"
#include "llvm/IRReader/IRReader.h"
#include "llvm/Object/ModuleSymbolTable.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/TargetParser/Host.h"

using namespace llvm;

// "LLVM23.1.0-rust-1.99" → 23; 0 if it says nothing of the kind.
static unsigned producer_version(StringRef producer) {
  unsigned version = 0;
  if (!producer.consume_front("LLVM") || producer.consumeInteger(10, version))
    return 0;
  return version;
}

// Splits module-level assembly off into an object of its own.
static bool assemble(KilnContext &context, Module &module, KilnBytes *object, KilnError *error) {
  std::string message;
  kiln::Pipeline *pipeline = context.pipeline(module, false, message);
  if (!pipeline)
    return kiln::fail(error, KilnUnsupported, message);
  Module assembly("assembly", context.context);
  assembly.setTargetTriple(module.getTargetTriple());
  assembly.setDataLayout(pipeline->machine->createDataLayout());
  assembly.setModuleInlineAsm(module.getModuleInlineAsm());
  // One object became two: what was local to it and is named on the other side must be visible to the linker.
  ModuleSymbolTable::CollectAsmSymbols(module, [&](StringRef name, object::BasicSymbolRef::Flags flags) {
    GlobalValue *value = module.getNamedValue(name);
    if (!value)
      return;
    if (!value->isDeclaration() && value->hasLocalLinkage()) {
      value->setLinkage(GlobalValue::ExternalLinkage);
      value->setVisibility(GlobalValue::HiddenVisibility);
    } else if (value->isDeclaration() && !(flags & object::BasicSymbolRef::SF_Undefined) &&
               !(flags & object::BasicSymbolRef::SF_Global)) {
      assembly.appendModuleInlineAsm(("\t.globl " + name + "\n\t.hidden " + name).str());
    }
  });
  module.setModuleInlineAsm("");
  SmallVector<char, 0> bytes;
  if (!kiln::emit(*pipeline->machine, assembly, bytes) || !context.diagnostics.empty())
    return kiln::fail(error, KilnRejected, "module-level assembly: " + context.diagnostics);
  *object = kiln::bytes(StringRef(bytes.data(), bytes.size()));
  return true;
}

extern "C" bool kiln_normalise(const uint8_t *data, size_t size, const char *name, KilnNormalised *normalised,
                               KilnError *error) {
  std::unique_ptr<KilnContext, void (*)(KilnContext *)> context(kiln_context_new(true), kiln_context_free);
  // The textual parser wants a NUL behind its input.
  auto buffer = MemoryBuffer::getMemBufferCopy(StringRef(reinterpret_cast<const char *>(data), size), name);
  bool bitcode = isBitcode(data, data + size);
  if (bitcode) {
    auto producer = getBitcodeProducerString(buffer->getMemBufferRef());
    if (!producer)
      consumeError(producer.takeError());
    else if (producer_version(*producer) > LLVM_VERSION_MAJOR)
      return kiln::fail(error, KilnNewerProducer,
                        Twine(name) + " was written by " + *producer + ", newer than LLVM " LLVM_VERSION_STRING);
  }
  SMDiagnostic diagnostic;
  auto module = parseIR(buffer->getMemBufferRef(), diagnostic, context->context);
  if (!module) {
    std::string text;
    raw_string_ostream stream(text);
    diagnostic.print(nullptr, stream, false);
    return kiln::fail(error, KilnInvalidIr, StringRef(text).rtrim());
  }
  // IR written by hand often names no target: it means the host's, and its data layout.
  if (module->getTargetTriple().empty())
    module->setTargetTriple(Triple(sys::getDefaultTargetTriple()));
  if (module->getDataLayoutStr().empty()) {
    std::string message;
    kiln::Pipeline *pipeline = context->pipeline(*module, false, message);
    if (!pipeline)
      return kiln::fail(error, KilnUnsupported, Twine(name) + ": " + message);
    module->setDataLayout(pipeline->machine->createDataLayout());
  }
  std::string text;
  raw_string_ostream stream(text);
  if (verifyModule(*module, &stream))
    return kiln::fail(error, KilnInvalidIr, Twine(name) + ": " + StringRef(text).rtrim());
  *normalised = {};
  if (!module->getModuleInlineAsm().empty() && !assemble(*context, *module, &normalised->assembly, error))
    return false;
  SmallVector<char, 0> written;
  raw_svector_ostream out(written);
  WriteBitcodeToFile(*module, out);
  normalised->bitcode = kiln::bytes(StringRef(written.data(), written.size()));
  return true;
}
