// A module that is read lazily: bodies come when asked for and go when used.

#include "shim.h"

#include "llvm/ADT/PostOrderIterator.h"
#include "llvm/ADT/SmallPtrSet.h"
#include "llvm/Bitcode/BitcodeReader.h"
#include "llvm/IR/CFG.h"
#include "llvm/IR/Constants.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/InstrTypes.h"
#include "llvm/Support/MemoryBuffer.h"

using namespace llvm;

// Bodies that were read only to look at them stay for later requests up to this size.
static constexpr size_t ReadInstructionsMax = 50'000;

extern "C" KilnModule *kiln_module_open(KilnContext *context, const uint8_t *data, size_t size, bool named, KilnError *error) {
  StringRef buffer(reinterpret_cast<const char *>(data), size);
  context->diagnostics.clear();
  // "Importing" makes the reader index the metadata instead of reading all of it with the first body.
  auto module = getLazyBitcodeModule(MemoryBufferRef(buffer, "module"), context->context,
                                     /*ShouldLazyLoadMetadata=*/true, /*IsImporting=*/true);
  if (!module) {
    kiln::fail(error, KilnInvalidIr, toString(module.takeError()));
    return nullptr;
  }
  if (Error bad = (*module)->materializeMetadata()) {
    kiln::fail(error, KilnInvalidIr, toString(std::move(bad)));
    return nullptr;
  }
  return new KilnModule(*context, std::move(*module), named);
}

extern "C" void kiln_module_free(KilnModule *module) { delete module; }

extern "C" uint32_t kiln_module_functions(const KilnModule *module) { return module->functions.size(); }

extern "C" bool kiln_module_is_defined(const KilnModule *module, uint32_t function) {
  if (function >= module->functions.size())
    return false;
  const Function &f = *module->functions[function];
  return !f.isDeclaration() && !f.hasAvailableExternallyLinkage();
}

// The globals that hold `constant`, through constant expressions and aggregates.
static void holders(const Constant *constant, SmallVectorImpl<GlobalVariable *> &found) {
  for (const User *user : constant->users()) {
    if (auto *global = dyn_cast<GlobalVariable>(user)) {
      if (!is_contained(found, global))
        found.push_back(const_cast<GlobalVariable *>(global));
    } else if (auto *outer = dyn_cast<Constant>(user); outer && !isa<GlobalValue>(outer)) {
      holders(outer, found);
    }
  }
}

KilnModule::KilnModule(KilnContext &context, std::unique_ptr<Module> owned, bool named)
    : context(context), module(std::move(owned)), named(named), triple(module->getTargetTriple().str()) {
  // The reader appends in the order of the records, aliases and ifuncs to lists of their own; writers emit all aliases
  // before the first ifunc.
  uint32_t id = 0;
  for (Function &function : *module) {
    functions.push_back(&function);
    ids[&function] = id++;
  }
  id = 0;
  for (GlobalVariable &global : module->globals())
    ids[&global] = id++;
  id = 0;
  for (GlobalAlias &alias : module->aliases())
    ids[&alias] = id++;
  for (GlobalIFunc &ifunc : module->ifuncs())
    ids[&ifunc] = id++;
  // A block whose address is in an initialiser has had its function read while the module was opened.
  for (Function *function : functions)
    if (!function->empty())
      for (BasicBlock &block : *function)
        if (block.hasAddressTaken())
          if (const auto *address = BlockAddress::lookup(&block))
            holders(address, labels[function]);
}

std::string KilnModule::symbol(const GlobalValue &value) const {
  if (named)
    return value.getName().str();
  auto id = ids.find(&value);
  // Values that the reader made itself (upgraded intrinsics) have no record.
  if (id == ids.end())
    return value.getName().str();
  char kind = isa<Function>(value) ? 'f' : isa<GlobalVariable>(value) ? 'g' : 'a';
  return (Twine("kiln$") + Twine(kind) + Twine(id->second)).str();
}

bool KilnModule::materialise(Function &function, KilnError *error) {
  if (!function.isMaterializable())
    return true;
  if (Error bad = function.materialize())
    return kiln::fail(error, KilnInvalidIr, toString(std::move(bad)), ids.lookup(&function));
  read.push_back(&function);
  read_instructions += function.getInstructionCount();
  return true;
}

static bool takes_labels(const Function &function) {
  return any_of(function, [](const BasicBlock &block) { return block.hasAddressTaken(); });
}

void KilnModule::trim() {
  if (read_instructions <= ReadInstructionsMax)
    return;
  for (Function *function : read) {
    // Moved into a batch already, or blocks whose addresses are in initialisers.
    if (function->empty() || takes_labels(*function))
      continue;
    // `deleteBody` resets more than the body; the reader would not set it again.
    auto linkage = function->getLinkage();
    Constant *personality = function->hasPersonalityFn() ? function->getPersonalityFn() : nullptr;
    Constant *prefix = function->hasPrefixData() ? function->getPrefixData() : nullptr;
    Constant *prologue = function->hasPrologueData() ? function->getPrologueData() : nullptr;
    function->deleteBody();
    function->setLinkage(linkage);
    if (personality)
      function->setPersonalityFn(personality);
    if (prefix)
      function->setPrefixData(prefix);
    if (prologue)
      function->setPrologueData(prologue);
    function->setIsMaterializable(true);
  }
  read.clear();
  read_instructions = 0;
}

// A path that ends the program or throws is not where a function that was just entered will go.
static bool is_unlikely(const BasicBlock &block) {
  return !block.getTerminator() || isa<UnreachableInst>(block.getTerminator()) || block.isLandingPad();
}

// How likely each block is to run when the function does: one pass in reverse post-order that splits what arrives
// evenly among the likely successors. A loop's header passes nearly all of it to each, body and exit: a loop runs and
// ends. Far simpler than BranchProbabilityInfo, and a fiftieth of its price.
static DenseMap<const BasicBlock *, float> likelihoods(const Function &function) {
  constexpr float Loop = 0.9f;
  DenseMap<const BasicBlock *, float> likely;
  likely[&function.getEntryBlock()] = 1;
  ReversePostOrderTraversal<const Function *> order(&function);
  DenseMap<const BasicBlock *, unsigned> position;
  unsigned next = 0;
  for (const BasicBlock *block : order)
    position[block] = next++;
  for (const BasicBlock *block : order) {
    float here = std::min(likely.lookup(block), 1.0f);
    unsigned at = position.lookup(block);
    bool header = any_of(predecessors(block), [&](const BasicBlock *from) {
      auto found = position.find(from);
      return found != position.end() && found->second >= at;
    });
    SmallVector<const BasicBlock *, 8> forward;
    for (const BasicBlock *to : successors(block))
      if (position.lookup(to) > at && !is_unlikely(*to))
        forward.push_back(to);
    for (const BasicBlock *to : forward)
      likely[to] += forward.size() == 1 ? here : header ? here * Loop : here / forward.size();
  }
  return likely;
}

extern "C" bool kiln_module_read(KilnModule *module, uint32_t id, uint32_t *instructions, const KilnCallee **callees,
                                 size_t *count, KilnError *error) {
  Function &function = *module->functions[id];
  if (!module->materialise(function, error))
    return false;
  module->callees.clear();
  *instructions = function.getInstructionCount();
  auto likely = likelihoods(function);
  SmallDenseMap<const Function *, size_t, 32> places;
  for (const BasicBlock &block : function) {
    float here = std::min(likely.lookup(&block), 1.0f);
    if (here == 0)
      continue;
    for (const Instruction &instruction : block) {
      auto *call = dyn_cast<CallBase>(&instruction);
      auto *callee = call ? dyn_cast<Function>(call->getCalledOperand()->stripPointerCasts()) : nullptr;
      // Of an interposable function another module's definition may be the one that counts: its stub knows.
      if (!callee || callee->isDeclaration() || callee->hasAvailableExternallyLinkage() || callee->isInterposable() ||
          call->hasFnAttr(Attribute::Cold))
        continue;
      auto [place, added] = places.try_emplace(callee, module->callees.size());
      if (added)
        module->callees.push_back({module->ids.lookup(callee), here});
      else
        // Two chances of which either is enough.
        module->callees[place->second].likelihood +=
            (1 - module->callees[place->second].likelihood) * here;
    }
  }
  *callees = module->callees.data();
  *count = module->callees.size();
  return true;
}
