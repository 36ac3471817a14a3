// Contexts, target machines, pipelines, emission.

#include "shim.h"

#include "llvm/Analysis/TargetLibraryInfo.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/IR/DiagnosticInfo.h"
#include "llvm/IR/DiagnosticPrinter.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/ErrorHandling.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/TargetParser/Host.h"

#include <cstdlib>
#include <cstring>
#include <new>

using namespace llvm;

namespace kiln {

KilnBytes bytes(StringRef text) {
  auto *data = static_cast<uint8_t *>(safe_malloc(text.size() + 1));
  memcpy(data, text.data(), text.size());
  data[text.size()] = 0;
  return {data, text.size()};
}

bool fail(KilnError *error, KilnErrorKind kind, const Twine &message, uint32_t function) {
  error->kind = kind;
  error->function = function;
  error->message = bytes(message.str());
  return false;
}

void Pipeline::run(Module &module) {
  // Running the full pipeline consumes parts of it (ModuleInlinerWrapperPass gives its passes away), so it is built
  // anew each time; what is expensive about a pipeline, the analyses, stays.
  if (full)
    builder->buildPerModuleDefaultPipeline(OptimizationLevel::O2).run(module, modules);
  else
    quick.run(module, modules);
  modules.clear();
  components.clear();
  functions.clear();
  loops.clear();
}

bool emit(TargetMachine &machine, Module &module, SmallVectorImpl<char> &object) {
  raw_svector_ostream stream(object);
  legacy::PassManager codegen;
  TargetLibraryInfoImpl libraries(machine.getTargetTriple());
  codegen.add(new TargetLibraryInfoWrapperPass(libraries));
  // The verifier has seen each function already.
  if (machine.addPassesToEmitFile(codegen, stream, nullptr, CodeGenFileType::ObjectFile, /*DisableVerify=*/true))
    return false;
  codegen.run(module);
  return true;
}

} // namespace kiln

static KilnFatal report;

extern "C" void kiln_bytes_free(KilnBytes bytes) { free(bytes.data); }

extern "C" void kiln_initialise(KilnFatal fatal) {
  report = fatal;
  install_fatal_error_handler([](void *, const char *reason, bool) { report(false, reason); });
  install_bad_alloc_error_handler([](void *, const char *reason, bool) { report(true, reason); });
  std::set_new_handler([] { report(true, "operator new"); });
  // Calls and jumps do not cross a word of 8 bytes, so that the runtime can lead each elsewhere by one store.
  const char *options[] = {"kiln-optimizer", "-x86-align-branch=call+jmp", "-x86-align-branch-boundary=8"};
  cl::ParseCommandLineOptions(std::size(options), options);
  LLVMInitializeX86TargetInfo();
  LLVMInitializeX86Target();
  LLVMInitializeX86TargetMC();
  LLVMInitializeX86AsmPrinter();
  LLVMInitializeX86AsmParser();
}

extern "C" KilnBytes kiln_llvm_version() { return kiln::bytes(LLVM_VERSION_STRING); }
extern "C" KilnBytes kiln_host_cpu() { return kiln::bytes(sys::getHostCPUName()); }

extern "C" KilnContext *kiln_context_new(bool keep_names) {
  auto *context = new KilnContext;
  context->context.setDiscardValueNames(!keep_names);
  // Without a handler LLVM prints errors and exits.
  context->context.setDiagnosticHandlerCallBack(
      [](const DiagnosticInfo *info, void *argument) {
        if (info->getSeverity() != DS_Error)
          return;
        auto &text = static_cast<KilnContext *>(argument)->diagnostics;
        if (!text.empty())
          text += '\n';
        raw_string_ostream stream(text);
        DiagnosticPrinterRawOStream printer(stream);
        info->print(printer);
      },
      context);
  return context;
}

extern "C" void kiln_context_free(KilnContext *context) { delete context; }

kiln::Pipeline *KilnContext::pipeline(const Module &module, bool full, std::string &message) {
  const Triple &triple = module.getTargetTriple();
  if (triple.getArch() != Triple::x86_64 || !triple.isOSBinFormatELF() || triple.isX32()) {
    message = "this optimizer compiles for x86-64 ELF targets only, not for '" + triple.str() + "'";
    return nullptr;
  }
  auto &slot = pipelines[(full ? "full " : "quick ") + triple.str()];
  if (slot)
    return slot.get();

  const Target *target = TargetRegistry::lookupTarget(triple, message);
  if (!target)
    return nullptr;
  TargetOptions options;
  options.FunctionSections = true;
  options.DataSections = true;
  auto made = std::make_unique<kiln::Pipeline>();
  // Features are attributes of the functions; the full pipeline adds the host's there (see KilnBatch::prepare).
  made->machine.reset(target->createTargetMachine(triple, "x86-64", "", options, Reloc::PIC_, CodeModel::Small,
                                                  full ? CodeGenOptLevel::Default : CodeGenOptLevel::None));
  PipelineTuningOptions tuning;
  tuning.LoopVectorization = full;
  tuning.SLPVectorization = full;
  made->builder = std::make_unique<PassBuilder>(made->machine.get(), tuning);
  auto &builder = *made->builder;
  TargetLibraryInfoImpl libraries(triple);
  made->functions.registerPass([&] { return TargetLibraryAnalysis(libraries); });
  builder.registerModuleAnalyses(made->modules);
  builder.registerCGSCCAnalyses(made->components);
  builder.registerFunctionAnalyses(made->functions);
  builder.registerLoopAnalyses(made->loops);
  builder.crossRegisterProxies(made->loops, made->functions, made->components, made->modules);
  made->full = full;
  if (!full)
    made->quick = builder.buildO0DefaultPipeline(OptimizationLevel::O0);
  slot = std::move(made);
  return slot.get();
}
