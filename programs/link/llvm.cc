// Links LLVM's X86 back end from its static archives and generates code for one function with it.
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/TargetParser/Triple.h"

using namespace llvm;

int main() {
  LLVMInitializeX86TargetInfo();
  LLVMInitializeX86Target();
  LLVMInitializeX86TargetMC();
  LLVMInitializeX86AsmPrinter();
  LLVMContext context;
  Module module("example", context);
  IRBuilder<> builder(context);
  Type *word = builder.getInt64Ty();
  auto *square = Function::Create(FunctionType::get(word, {word}, false), Function::ExternalLinkage, "square", module);
  builder.SetInsertPoint(BasicBlock::Create(context, "entry", square));
  builder.CreateRet(builder.CreateMul(square->getArg(0), square->getArg(0)));
  Triple triple("x86_64-unknown-linux-gnu");
  std::string problem;
  const Target *target = TargetRegistry::lookupTarget(triple, problem);
  if (!target) {
    errs() << problem << '\n';
    return 1;
  }
  std::unique_ptr<TargetMachine> machine(target->createTargetMachine(triple, "", "", TargetOptions(), std::nullopt));
  module.setDataLayout(machine->createDataLayout());
  module.setTargetTriple(triple);
  SmallVector<char, 0> text;
  raw_svector_ostream stream(text);
  legacy::PassManager passes;
  machine->addPassesToEmitFile(passes, stream, nullptr, CodeGenFileType::AssemblyFile);
  passes.run(module);
  outs() << StringRef(text.data(), text.size());
}
