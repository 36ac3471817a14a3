// Debug info of extracted functions.

#include "shim.h"

#include "llvm/BinaryFormat/Dwarf.h"
#include "llvm/IR/DebugInfo.h"
#include "llvm/IR/DebugInfoMetadata.h"
#include "llvm/IR/IntrinsicInst.h"

using namespace llvm;
using namespace kiln;

DISubprogram *LineTables::subprogram(DISubprogram *original) {
  auto &made = subprograms[original];
  if (made)
    return made;
  LLVMContext &context = module.getContext();
  DICompileUnit *from = original->getUnit();
  auto &unit = units[from];
  if (!unit) {
    unit = DICompileUnit::getDistinct(
        context, from ? from->getSourceLanguage() : DISourceLanguageName(dwarf::DW_LANG_C),
        from ? from->getFile() : original->getFile(), "kiln", false, "", 0, "",
        DICompileUnit::LineTablesOnly, DICompositeTypeArray(), DIScopeArray(), DIGlobalVariableExpressionArray(),
        DIImportedEntityArray(), DIMacroNodeArray(), 0, true, false, DICompileUnit::DebugNameTableKind::None, false, "",
        "");
    module.getOrInsertNamedMetadata("llvm.dbg.cu")->addOperand(unit);
  }
  auto *type = DISubroutineType::get(context, DINode::FlagZero, 0, MDTuple::get(context, {nullptr}));
  made = DISubprogram::getDistinct(context, original->getFile(), original->getName(), original->getLinkageName(),
                                   original->getFile(), original->getLine(), type, original->getScopeLine(), nullptr, 0,
                                   0, DINode::FlagZero, DISubprogram::SPFlagDefinition, unit);
  return made;
}

DILocation *LineTables::location(DILocation *original) {
  if (!original)
    return nullptr;
  if (auto found = locations.find(original); found != locations.end())
    return found->second;
  DILocalScope *from = original->getScope();
  DILocalScope *scope = subprogram(from->getSubprogram());
  // Code from an included file keeps its file.
  if (from->getFile() != scope->getFile())
    scope = DILexicalBlockFile::get(module.getContext(), scope, from->getFile(), 0);
  auto *made = DILocation::get(module.getContext(), original->getLine(), original->getColumn(), scope,
                               location(original->getInlinedAt()), original->isImplicitCode());
  locations[original] = made;
  return made;
}

void LineTables::reduce(Function &function, DISubprogram *original) {
  // Without compile units there is nothing to reduce, and no need to look at each instruction.
  if (!present)
    return;
  function.setSubprogram(original ? subprogram(original) : nullptr);
  for (BasicBlock &block : function) {
    for (Instruction &instruction : block) {
      instruction.dropDbgRecords();
      instruction.setDebugLoc(original ? DebugLoc(location(instruction.getDebugLoc())) : DebugLoc());
      if (!instruction.hasMetadataOtherThanDebugLoc())
        continue;
      instruction.setMetadata(LLVMContext::MD_DIAssignID, nullptr);
      if (instruction.getMetadata(LLVMContext::MD_loop))
        updateLoopMetadataDebugLocations(instruction, [&](Metadata *node) -> Metadata * {
          auto *old = dyn_cast_or_null<DILocation>(node);
          return !old ? node : original ? location(old) : nullptr;
        });
    }
    block.deleteTrailingDbgRecords();
  }
}
