// Shared by the shim's parts: the types behind the opaque pointers.
#ifndef KILN_SHIM_INTERNAL_H
#define KILN_SHIM_INTERNAL_H

#include "kiln.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/Error.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Transforms/Utils/ValueMapper.h"

#include <memory>
#include <string>

namespace kiln {

constexpr uint32_t NoFunction = ~0u;

KilnBytes bytes(llvm::StringRef text);
bool fail(KilnError *error, KilnErrorKind kind, const llvm::Twine &message, uint32_t function = NoFunction);

// A target machine with its pass pipeline: 50 µs and more to make, so kept.
struct Pipeline {
  std::unique_ptr<llvm::TargetMachine> machine;
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager components;
  llvm::ModuleAnalysisManager modules;
  std::unique_ptr<llvm::PassBuilder> builder;
  llvm::ModulePassManager quick;
  bool full = false;

  void run(llvm::Module &module);
};

// Emits `module` as an ELF object; null and an error if the target refuses.
bool emit(llvm::TargetMachine &machine, llvm::Module &module, llvm::SmallVectorImpl<char> &object);

// Line tables are all that an extracted function keeps of its debug info: whatever else hangs on a subprogram reaches
// most of its compile unit. Subprograms and locations are rebuilt, so nothing of the source's graph comes along.
class LineTables {
public:
  LineTables(llvm::Module &module, bool present) : module(module), present(present) {}
  void reduce(llvm::Function &function, llvm::DISubprogram *original);

private:
  llvm::DISubprogram *subprogram(llvm::DISubprogram *original);
  llvm::DILocation *location(llvm::DILocation *original);

  llvm::Module &module;
  bool present;
  llvm::DenseMap<llvm::DICompileUnit *, llvm::DICompileUnit *> units;
  llvm::DenseMap<llvm::DISubprogram *, llvm::DISubprogram *> subprograms;
  llvm::DenseMap<llvm::DILocation *, llvm::DILocation *> locations;
};

} // namespace kiln

struct KilnContext {
  llvm::LLVMContext context;
  // What LLVM reported since the last `clear`.
  std::string diagnostics;
  llvm::StringMap<std::unique_ptr<kiln::Pipeline>> pipelines;

  // The pipeline for a module's target, or null with a message.
  kiln::Pipeline *pipeline(const llvm::Module &module, bool full, std::string &message);
};

struct KilnModule {
  KilnContext &context;
  std::unique_ptr<llvm::Module> module;
  // Part of a module: values have their id symbols for names, and what binds to the module says so.
  bool named;
  std::vector<llvm::Function *> functions;
  llvm::DenseMap<const llvm::GlobalValue *, uint32_t> ids;
  // Which globals hold addresses of a function's blocks: they are emitted with the function.
  llvm::DenseMap<const llvm::Function *, llvm::SmallVector<llvm::GlobalVariable *, 1>> labels;
  // Bodies that were read and are still here, and their size.
  llvm::SmallVector<llvm::Function *, 32> read;
  size_t read_instructions = 0;
  std::vector<KilnCallee> callees;
  std::string triple;

  KilnModule(KilnContext &context, std::unique_ptr<llvm::Module> module, bool named);
  bool materialise(llvm::Function &function, KilnError *error);
  // Drops bodies that were read, unless there are few.
  void trim();
  std::string symbol(const llvm::GlobalValue &value) const;
};

struct KilnBatch {
  KilnModule &source;
  bool full;
  kiln::Pipeline *pipeline = nullptr;
  std::string refusal;
  std::unique_ptr<llvm::Module> module;
  kiln::LineTables lines;
  llvm::DenseMap<const llvm::GlobalValue *, llvm::GlobalValue *> declared;
  // Names that values have while passes run → id symbols.
  llvm::StringMap<std::string> renames;
  llvm::SmallVector<uint32_t, 16> defined;
  llvm::SmallVector<uint32_t, 16> visible;
  llvm::SmallVector<uint32_t, 4> globals;
  // Functions whose bodies, and what was inferred from them, mean nothing any more.
  llvm::DenseSet<uint32_t> opaque;

  KilnBatch(KilnModule &source, bool full, llvm::ArrayRef<uint32_t> opaque);
  llvm::GlobalValue *declare(const llvm::GlobalValue &value);
  bool add(llvm::Function &function, bool inline_only, KilnError *error);
  void rename();
  void bind_calls();

private:
  void declare_inferred(const llvm::Function &original, llvm::Function &made);
  std::string working_name(const llvm::GlobalValue &value);
  void move_body(llvm::Function &from, llvm::Function &to, bool &foreign_label);
  void copy_body(llvm::Function &from, llvm::Function &to, bool &foreign_label);
  void adopt(llvm::Function &from, llvm::Function &to, llvm::ValueMapper &mapper);
  void prepare(llvm::Function &function);
};

#endif
