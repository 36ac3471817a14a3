// Extraction: functions of a lazily read module in a small module of their own.
//
// Bodies are moved, not copied: both modules share a context, so only operands that name a global of the source have to
// be exchanged. A body that is wanted again is read again from the bitcode. Functions whose block addresses are held by
// globals are the exception: the source's initialisers refer to their blocks, so these are copied.

#include "shim.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/IR/Constants.h"
#include "llvm/IR/DebugInfoMetadata.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/Instructions.h"
#include "llvm/IR/Verifier.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/Transforms/Utils/Cloning.h"

#include <chrono>

using namespace llvm;

// Constants up to this size are shown to the full pipeline, which can fold loads from them.
static constexpr uint64_t VisibleConstantBytesMax = 4096;

namespace {

// Declares what a moved body refers to.
class Declare final : public ValueMaterializer {
public:
  Declare(KilnBatch &batch, const Function *current) : batch(batch), current(current) {}

  Value *materialize(Value *value) override {
    if (auto *global = dyn_cast<GlobalValue>(value))
      return batch.declare(*global);
    if (auto *address = dyn_cast<BlockAddress>(value); address && address->getFunction() != current) {
      foreign_label = true;
      return PoisonValue::get(address->getType());
    }
    return nullptr;
  }

  bool foreign_label = false;

private:
  KilnBatch &batch;
  const Function *current;
};

const RemapFlags Remap = RF_NoModuleLevelChanges | RF_DoNotRemapAtoms;

} // namespace

KilnBatch::KilnBatch(KilnModule &source, bool full, ArrayRef<uint32_t> opaque)
    : source(source), full(full), module(std::make_unique<Module>("kiln", source.context.context)),
      lines(*module, source.module->getNamedMetadata("llvm.dbg.cu") != nullptr), opaque(opaque.begin(), opaque.end()) {
  module->setTargetTriple(source.module->getTargetTriple());
  module->setDataLayout(source.module->getDataLayout());
  module->setSourceFileName(source.module->getSourceFileName());
  pipeline = source.context.pipeline(*source.module, full, refusal);
  if (pipeline) {
    if (module->getDataLayout().isDefault())
      module->setDataLayout(pipeline->machine->createDataLayout());
    else if (!pipeline->machine->isCompatibleDataLayout(module->getDataLayout()))
      refusal = "the module's data layout is not that of its target";
  }
  SmallVector<Module::ModuleFlagEntry, 16> flags;
  source.module->getModuleFlagsMetadata(flags);
  for (const auto &flag : flags) {
    // The code model is ours, and the profile names functions.
    StringRef key = flag.Key->getString();
    if (key != "PIC Level" && key != "PIE Level" && key != "Code Model" && key != "CG Profile" &&
        key != "direct-access-external-data")
      module->addModuleFlag(flag.Behavior, key, flag.Val);
  }
  module->setPICLevel(PICLevel::BigPIC);
}

// Passes know library functions by name, and must not turn the program's own `memcpy` into a call of itself, so the full
// pipeline sees the names of whatever is visible to a linker. The id symbols replace them before code generation.
std::string KilnBatch::working_name(const GlobalValue &value) {
  std::string symbol = source.symbol(value);
  StringRef name = value.getName();
  if (!full || value.hasLocalLinkage() || name.empty() || name.starts_with("\1") || name.starts_with("llvm."))
    return symbol;
  renames[name] = symbol;
  return name.str();
}

void KilnBatch::rename() {
  if (!full)
    return;
  for (GlobalValue &value : module->global_values()) {
    if (auto found = renames.find(value.getName()); found != renames.end()) {
      value.setName(found->second);
    } else if (value.isDeclaration() && !value.getName().starts_with("llvm.")) {
      // A pass made a library call: to the module's own definition if it has one.
      if (const GlobalValue *own = source.module->getNamedValue(value.getName()); own && !own->hasLocalLinkage())
        value.setName(source.symbol(*own));
    }
  }
}

// Drops the `@PLT` of calls: it makes no difference to the relocation, but the assembler does not align a branch that has one
// (`hasVariantSymbol` in X86AsmBackend.cpp), and then it could not be patched. A function whose address is taken keeps its
// indirect reference, since it may be out of reach.
void KilnBatch::bind_calls() {
  for (Function &function : *module) {
    if (!function.isDeclaration() || function.isIntrinsic() || function.hasExternalWeakLinkage())
      continue;
    if (all_of(function.uses(), [](const Use &use) {
          auto *call = dyn_cast<CallBase>(use.getUser());
          return call && call->isCallee(&use);
        }))
      function.setDSOLocal(true);
  }
}

// Whether references bind to this module's definition whatever else is linked.
static bool binds_here(const GlobalValue &value) {
  if (value.isDeclaration() || value.hasAvailableExternallyLinkage() || isa<GlobalIFunc>(value))
    return false;
  return value.hasLocalLinkage() || value.hasExternalLinkage() || !value.hasDefaultVisibility();
}

// What front ends and passes conclude from a body they write on the function itself, so a caller that never sees the body
// may still rely on it. Such a body counts as seen; of an opaque one nothing is left.
void KilnBatch::declare_inferred(const Function &original, Function &made) {
  static constexpr Attribute::AttrKind OfFunction[] = {
      Attribute::Memory,  Attribute::NoReturn,   Attribute::WillReturn,       Attribute::NoFree,
      Attribute::NoSync,  Attribute::NoRecurse,  Attribute::Speculatable,     Attribute::NoCallback,
      Attribute::NoUnwind, Attribute::MustProgress};
  static constexpr Attribute::AttrKind OfResult[] = {Attribute::NoAlias,         Attribute::NonNull,
                                                     Attribute::Dereferenceable, Attribute::DereferenceableOrNull,
                                                     Attribute::Range,           Attribute::NoFPClass,
                                                     Attribute::Alignment,       Attribute::NoUndef};
  static constexpr Attribute::AttrKind OfParameter[] = {Attribute::Returned,  Attribute::ReadNone,
                                                        Attribute::ReadOnly,  Attribute::WriteOnly,
                                                        Attribute::Captures,  Attribute::NoFree,
                                                        Attribute::Initializes};
  if (!full || original.isDeclaration() || original.isIntrinsic())
    return;
  bool inferred = original.hasFnAttribute(Attribute::Memory) || original.hasFnAttribute(Attribute::NoReturn);
  for (auto kind : OfResult)
    inferred |= original.hasRetAttribute(kind);
  for (const Argument &argument : original.args())
    for (auto kind : OfParameter)
      inferred |= argument.hasAttribute(kind);
  uint32_t id = source.ids.lookup(&original);
  if (inferred && !opaque.contains(id) && !is_contained(visible, id))
    visible.push_back(id);
  if (!opaque.contains(id))
    return;
  for (auto kind : OfFunction)
    made.removeFnAttr(kind);
  for (auto kind : OfResult)
    made.removeRetAttr(kind);
  for (unsigned at = 0; at < made.arg_size(); at++)
    for (auto kind : OfParameter)
      made.removeParamAttr(at, kind);
}

GlobalValue *KilnBatch::declare(const GlobalValue &value) {
  auto &slot = declared[&value];
  if (slot)
    return slot;
  auto linkage = value.hasExternalWeakLinkage() ? GlobalValue::ExternalWeakLinkage : GlobalValue::ExternalLinkage;
  auto *type = value.getValueType();
  if (auto *signature = dyn_cast<FunctionType>(type)) {
    auto *original = dyn_cast<Function>(&value);
    bool intrinsic = original && original->isIntrinsic();
    auto *made = Function::Create(signature, linkage, value.getAddressSpace(),
                                  intrinsic ? value.getName().str() : working_name(value), module.get());
    if (original) {
      made->setAttributes(original->getAttributes());
      made->setCallingConv(original->getCallingConv());
      declare_inferred(*original, *made);
    }
    slot = made;
  } else {
    auto *original = dyn_cast<GlobalVariable>(&value);
    auto *made = new GlobalVariable(*module, type, original && original->isConstant(), linkage, nullptr,
                                    working_name(value), nullptr,
                                    value.isThreadLocal() ? GlobalValue::GeneralDynamicTLSModel
                                                          : GlobalValue::NotThreadLocal,
                                    value.getAddressSpace(), original && original->isExternallyInitialized());
    if (original)
      made->setAlignment(original->getAlign());
    slot = made;
  }
  // Thread-local variables are always reached in the general-dynamic way, which the linker relaxes; a local one would
  // get the local-dynamic model.
  slot->setDSOLocal((source.named ? value.isDSOLocal() : binds_here(value)) && !value.isThreadLocal());
  GlobalValue *made = slot;

  // `slot` may dangle from here on.
  auto *constant = dyn_cast<GlobalVariable>(&value);
  if (full && constant && constant->isConstant() && constant->hasDefinitiveInitializer() &&
      !constant->isThreadLocal() &&
      module->getDataLayout().getTypeAllocSize(type).getFixedValue() <= VisibleConstantBytesMax) {
    Declare declare(*this, nullptr);
    ValueToValueMapTy map;
    Constant *initialiser = MapValue(constant->getInitializer(), map, Remap, nullptr, &declare);
    if (initialiser && !declare.foreign_label) {
      cast<GlobalVariable>(made)->setInitializer(initialiser);
      made->setLinkage(GlobalValue::AvailableExternallyLinkage);
    }
  }
  return made;
}

static void set_linkage(const Function &from, Function &to, bool inline_only) {
  if (inline_only) {
    to.setLinkage(GlobalValue::AvailableExternallyLinkage);
    to.setVisibility(GlobalValue::DefaultVisibility);
    return;
  }
  // One that another module may replace keeps saying so: nothing may be concluded from its body.
  to.setLinkage(from.isInterposable() ? GlobalValue::WeakAnyLinkage : GlobalValue::ExternalLinkage);
  // Not default: a local alias would let the assembler resolve calls of the function to itself.
  to.setVisibility(GlobalValue::HiddenVisibility);
}

// Everything about a function but its blocks, its linkage and its debug info.
void KilnBatch::adopt(Function &from, Function &to, ValueMapper &mapper) {
  to.setAttributes(from.getAttributes());
  to.setAlignment(from.getAlign());
  if (from.hasGC())
    to.setGC(from.getGC());
  if (from.hasPersonalityFn())
    to.setPersonalityFn(mapper.mapConstant(*from.getPersonalityFn()));
  if (from.hasPrefixData())
    to.setPrefixData(mapper.mapConstant(*from.getPrefixData()));
  if (from.hasPrologueData())
    to.setPrologueData(mapper.mapConstant(*from.getPrologueData()));
  SmallVector<std::pair<unsigned, MDNode *>, 4> attachments;
  from.getAllMetadata(attachments);
  for (auto [kind, node] : attachments)
    if (kind != LLVMContext::MD_dbg)
      to.addMetadata(kind, *node);
}

void KilnBatch::move_body(Function &from, Function &to, bool &foreign_label) {
  Declare declare(*this, &from);
  ValueToValueMapTy map;
  ValueMapper mapper(map, Remap, nullptr, &declare);
  to.stealArgumentListFrom(from);
  to.splice(to.end(), &from);
  adopt(from, to, mapper);
  // The reader attaches these again with the body.
  from.clearMetadata();
  from.setIsMaterializable(true);
  for (Instruction &instruction : instructions(to)) {
    for (Use &use : instruction.operands())
      if (auto *constant = dyn_cast<Constant>(use.get()); constant && !isa<ConstantData>(constant))
        use.set(mapper.mapConstant(*constant));
    // The only attachment that names functions.
    if (instruction.hasMetadataOtherThanDebugLoc())
      instruction.setMetadata(LLVMContext::MD_callees, nullptr);
  }
  foreign_label = declare.foreign_label;
}

void KilnBatch::copy_body(Function &from, Function &to, bool &foreign_label) {
  Declare declare(*this, &from);
  ValueToValueMapTy map;
  for (auto [old, made] : zip(from.args(), to.args()))
    map[&old] = &made;
  for (BasicBlock &block : from)
    map[&block] = CloneBasicBlock(&block, map, "", &to);
  ValueMapper mapper(map, Remap, nullptr, &declare);
  adopt(from, to, mapper);
  for (Instruction &instruction : instructions(to)) {
    mapper.remapInstruction(instruction);
    if (instruction.hasMetadataOtherThanDebugLoc())
      instruction.setMetadata(LLVMContext::MD_callees, nullptr);
  }
  for (GlobalVariable *table : source.labels.lookup(&from)) {
    auto *made = cast<GlobalVariable>(this->declare(*table));
    made->setInitializer(mapper.mapConstant(*table->getInitializer()));
    made->setLinkage(GlobalValue::ExternalLinkage);
    made->setVisibility(GlobalValue::HiddenVisibility);
    made->setAlignment(table->getAlign());
    globals.push_back(source.ids.lookup(table));
  }
  foreign_label = declare.foreign_label;
}

// Whether a value of this type, as an argument or result, is passed in other registers when wider ones are available.
static bool is_wide(const Type *type) {
  if (auto *vector = dyn_cast<FixedVectorType>(type))
    return vector->getPrimitiveSizeInBits().getFixedValue() > 128;
  return any_of(type->subtypes(), [](const Type *part) { return is_wide(part); });
}

static bool passes_wide_vectors(const Function &function) {
  if (is_wide(function.getFunctionType()))
    return true;
  for (const Instruction &instruction : instructions(function))
    if (auto *call = dyn_cast<CallBase>(&instruction); call && !isa<IntrinsicInst>(call))
      if (is_wide(call->getType()) || any_of(call->args(), [](const Use &use) { return is_wide(use->getType()); }))
        return true;
  return false;
}

static const std::string &host_features() {
  static const std::string features = [] {
    SmallVector<std::string, 64> list;
    for (const auto &feature : sys::getHostCPUFeatures())
      list.push_back((feature.second ? "+" : "-") + feature.first().str());
    sort(list);
    return join(list, ",");
  }();
  return features;
}

void KilnBatch::prepare(Function &function) {
  if (function.getUWTableKind() == UWTableKind::None)
    function.setUWTableKind(UWTableKind::Default);
  if (!function.hasFnAttribute("frame-pointer"))
    function.addFnAttr("frame-pointer", full ? "non-leaf" : "all");
  if (!full)
    return;
  // What clang puts on everything where no -O flag is given, always as a pair.
  if (function.hasFnAttribute(Attribute::OptimizeNone)) {
    function.removeFnAttr(Attribute::OptimizeNone);
    function.removeFnAttr(Attribute::NoInline);
  }
  // The host's features change how vectors of more than 128 bits are passed, and code that forbids SSE means it.
  StringRef features = function.getFnAttribute("target-features").getValueAsString();
  StringRef cpu = sys::getHostCPUName();
  bool restricted = features.contains("-sse") || features.contains("-mmx") || features.contains("-x87") ||
                    function.getFnAttribute("use-soft-float").getValueAsBool();
  if (restricted || passes_wide_vectors(function)) {
    function.addFnAttr("tune-cpu", cpu);
  } else {
    function.addFnAttr("target-cpu", cpu);
    function.removeFnAttr("tune-cpu");
    function.addFnAttr("target-features", host_features());
  }
}

bool KilnBatch::add(Function &from, bool inline_only, KilnError *error) {
  uint32_t id = source.ids.lookup(&from);
  auto *to = cast<Function>(declare(from));
  if (!to->isDeclaration()) {
    if (!inline_only && to->hasAvailableExternallyLinkage()) {
      // Came along to be inlined, is now wanted itself.
      set_linkage(from, *to, false);
      defined.push_back(id);
    }
    return true;
  }
  if (!source.materialise(from, error))
    return false;
  DISubprogram *subprogram = from.getSubprogram();
  bool foreign_label = false;
  if (any_of(from, [](const BasicBlock &block) { return block.hasAddressTaken(); }))
    copy_body(from, *to, foreign_label);
  else
    move_body(from, *to, foreign_label);
  lines.reduce(*to, subprogram);
  prepare(*to);

  auto undo = [&](KilnErrorKind kind, const Twine &message) {
    to->deleteBody();
    to->setVisibility(GlobalValue::DefaultVisibility);
    return kiln::fail(error, kind, message, id);
  };
  if (foreign_label)
    return undo(KilnUnsupported, "'" + from.getName() + "' uses the address of a label in another function");
  std::string text;
  raw_string_ostream stream(text);
  if (verifyFunction(*to, &stream))
    return undo(KilnInvalidIr, "'" + from.getName() + "': " + StringRef(text).rtrim());

  set_linkage(from, *to, inline_only);
  if (!is_contained(visible, id))
    visible.push_back(id);
  if (!inline_only)
    defined.push_back(id);

  // Callees that must be inlined come along, as bodies only.
  SmallVector<Function *, 4> callees;
  for (auto &[original, made] : declared)
    if (auto *callee = dyn_cast<Function>(original);
        callee && callee->hasFnAttribute(Attribute::AlwaysInline) && made->isDeclaration() && !callee->isDeclaration() &&
        !callee->isInterposable() && !opaque.contains(source.ids.lookup(callee)))
      callees.push_back(const_cast<Function *>(callee));
  // In the order of the module rather than of addresses.
  sort(callees, [&](Function *a, Function *b) { return source.ids.lookup(a) < source.ids.lookup(b); });
  for (Function *callee : callees) {
    KilnError ignored{};
    // One that cannot come stays a call.
    if (!add(*callee, true, &ignored))
      kiln_bytes_free(ignored.message);
  }
  return true;
}

extern "C" KilnBatch *kiln_batch_new(KilnModule *module, bool full, const uint32_t *opaque, size_t opaque_count) {
  module->context.diagnostics.clear();
  return new KilnBatch(*module, full, ArrayRef<uint32_t>(opaque, opaque_count));
}

extern "C" void kiln_batch_free(KilnBatch *batch) {
  KilnModule &source = batch->source;
  delete batch;
  source.trim();
}

extern "C" bool kiln_batch_add(KilnBatch *batch, uint32_t function, KilnError *error) {
  if (!batch->refusal.empty())
    return kiln::fail(error, KilnUnsupported, batch->refusal);
  return batch->add(*batch->source.functions[function], false, error);
}

extern "C" KilnBytes kiln_batch_text(const KilnBatch *batch) {
  std::string text;
  raw_string_ostream stream(text);
  batch->module->print(stream, nullptr);
  return kiln::bytes(text);
}

extern "C" bool kiln_batch_compile(KilnBatch *batch, KilnCompiled *compiled, KilnError *error) {
  using Clock = std::chrono::steady_clock;
  auto &diagnostics = batch->source.context.diagnostics;
  auto nanoseconds = [](Clock::duration time) {
    return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(time).count());
  };
  diagnostics.clear();
  auto start = Clock::now();
  batch->pipeline->run(*batch->module);
  batch->rename();
  batch->bind_calls();
  auto optimised = Clock::now();
  SmallVector<char, 0> object;
  bool emitted = diagnostics.empty() && kiln::emit(*batch->pipeline->machine, *batch->module, object);
  auto finished = Clock::now();
  if (!diagnostics.empty())
    return kiln::fail(error, KilnRejected, diagnostics);
  if (!emitted)
    return kiln::fail(error, KilnUnsupported, "the target cannot emit objects");
  *compiled = {kiln::bytes(StringRef(object.data(), object.size())),
               batch->globals.data(),
               batch->globals.size(),
               batch->visible.data(),
               batch->visible.size(),
               nanoseconds(optimised - start),
               nanoseconds(finished - optimised)};
  return true;
}
