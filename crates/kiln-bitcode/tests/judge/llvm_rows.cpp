// The judge of kiln_bitcode::rows and kiln_bitcode::body_rows: the same lines, from LLVM's own reader.
//
// usage: llvm_rows [--locations | --bodies] FILE.bc…
//
// With --locations, where each instruction comes from instead; with --bodies, only the bodies of modules that LLVM's
// verifier accepts.
//
// Compiled at test time against the installed LLVM 22. Shares nothing with the reader it judges but the form of the
// lines, which src/rows.rs and src/body_rows.rs describe.

#include "llvm/ADT/SmallString.h"
#include "llvm/Bitcode/BitcodeReader.h"
#include "llvm/IR/Attributes.h"
#include "llvm/IR/Comdat.h"
#include "llvm/IR/ConstantRange.h"
#include "llvm/IR/ConstantRangeList.h"
#include "llvm/IR/Constants.h"
#include "llvm/IR/DataLayout.h"
#include "llvm/IR/DebugInfoMetadata.h"
#include "llvm/IR/DerivedTypes.h"
#include "llvm/IR/Function.h"
#include "llvm/IR/GlobalAlias.h"
#include "llvm/IR/GlobalIFunc.h"
#include "llvm/IR/GlobalVariable.h"
#include "llvm/IR/InlineAsm.h"
#include "llvm/IR/InstrTypes.h"
#include "llvm/IR/Instructions.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/IR/Operator.h"
#include "llvm/IR/Verifier.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/raw_ostream.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <unordered_map>
#include <vector>

using namespace llvm;

namespace {

[[noreturn]] void die(const std::string &Message) {
  fprintf(stderr, "llvm_rows: %s\n", Message.c_str());
  exit(1);
}

std::string text(StringRef S) {
  std::string Out = "\"";
  for (unsigned char C : S) {
    if (C == '"' || C == '\\' || C < 0x20 || C > 0x7e) {
      char Buffer[8];
      snprintf(Buffer, sizeof Buffer, "\\%02x", C);
      Out += Buffer;
    } else {
      Out += char(C);
    }
  }
  return Out + "\"";
}

std::string number(const APInt &Value) {
  SmallString<64> Out;
  Value.toString(Out, 16, /*Signed=*/false, /*formatAsCLiteral=*/false, /*UpperCase=*/false);
  return ("0x" + Out).str();
}

std::string hex(StringRef Bytes) {
  std::string Out;
  for (unsigned char C : Bytes) {
    char Buffer[4];
    snprintf(Buffer, sizeof Buffer, "%02x", C);
    Out += Buffer;
  }
  return Out;
}

std::string type(Type *T) {
  switch (T->getTypeID()) {
  case Type::VoidTyID:      return "void";
  case Type::HalfTyID:      return "half";
  case Type::BFloatTyID:    return "bfloat";
  case Type::FloatTyID:     return "float";
  case Type::DoubleTyID:    return "double";
  case Type::X86_FP80TyID:  return "x86_fp80";
  case Type::FP128TyID:     return "fp128";
  case Type::PPC_FP128TyID: return "ppc_fp128";
  case Type::LabelTyID:     return "label";
  case Type::MetadataTyID:  return "metadata";
  case Type::TokenTyID:     return "token";
  case Type::X86_AMXTyID:   return "x86_amx";
  case Type::IntegerTyID:   return "i" + std::to_string(T->getIntegerBitWidth());
  case Type::PointerTyID: {
    unsigned Space = T->getPointerAddressSpace();
    return Space ? "ptr addrspace(" + std::to_string(Space) + ")" : "ptr";
  }
  case Type::ArrayTyID:
    return "[" + std::to_string(T->getArrayNumElements()) + " x " + type(T->getArrayElementType()) + "]";
  case Type::FixedVectorTyID:
  case Type::ScalableVectorTyID: {
    auto *V = cast<VectorType>(T);
    std::string Count = std::to_string(V->getElementCount().getKnownMinValue());
    return std::string("<") + (isa<ScalableVectorType>(V) ? "vscale x " : "") + Count + " x " +
           type(V->getElementType()) + ">";
  }
  case Type::StructTyID: {
    auto *S = cast<StructType>(T);
    std::string Out = S->isLiteral() ? "" : "%" + text(S->getName());
    if (S->isOpaque())
      return Out;
    Out += S->isPacked() ? "<{" : "{";
    for (unsigned I = 0; I != S->getNumElements(); ++I)
      Out += (I ? ", " : "") + type(S->getElementType(I));
    return Out + (S->isPacked() ? "}>" : "}");
  }
  case Type::FunctionTyID: {
    auto *F = cast<FunctionType>(T);
    std::string Out = type(F->getReturnType()) + "(";
    for (unsigned I = 0; I != F->getNumParams(); ++I)
      Out += (I ? ", " : "") + type(F->getParamType(I));
    return Out + (F->isVarArg() ? ", ...)" : ")");
  }
  case Type::TargetExtTyID: {
    auto *X = cast<TargetExtType>(T);
    std::string Out = "target(" + text(X->getName());
    for (Type *P : X->type_params())
      Out += ", " + type(P);
    for (unsigned P : X->int_params())
      Out += ", " + std::to_string(P);
    return Out + ")";
  }
  default:
    die("a type that has no form");
  }
}

template <typename List> std::string indexed(const char *Kind, const List &Values, const GlobalValue *Of) {
  size_t Index = 0;
  for (const auto &Value : Values) {
    if (&Value == Of)
      return std::string("@") + Kind + " " + std::to_string(Index);
    ++Index;
  }
  die("a global outside its module");
}

std::string globalRef(const GlobalValue *G) {
  if (G->hasName())
    return "@" + text(G->getName());
  const Module &M = *G->getParent();
  if (isa<Function>(G))
    return indexed("function", M.functions(), G);
  if (isa<GlobalVariable>(G))
    return indexed("global", M.globals(), G);
  if (isa<GlobalAlias>(G))
    return indexed("alias", M.aliases(), G);
  return indexed("ifunc", M.ifuncs(), G);
}

std::string range(const ConstantRange &R) {
  return "(i" + std::to_string(R.getBitWidth()) + " " + number(R.getLower()) + " " + number(R.getUpper()) + ")";
}

std::string value(const Constant *C);

std::string constant(const Constant *C) { return type(C->getType()) + " " + value(C); }

std::string expression(const std::string &Name, ArrayRef<const Constant *> Operands) {
  std::string Out = "(" + Name + " ";
  for (size_t I = 0; I != Operands.size(); ++I)
    Out += (I ? ", " : "") + constant(Operands[I]);
  return Out + ")";
}

std::string value(const Constant *C) {
  if (auto *G = dyn_cast<GlobalValue>(C))
    return globalRef(G);
  if (isa<PoisonValue>(C))
    return "poison";
  if (isa<UndefValue>(C))
    return "undef";
  // A zero float is a float with bits in bitcode only if it is negative.
  if (C->isNullValue())
    return "zero";
  if (auto *I = dyn_cast<ConstantInt>(C))
    return number(I->getValue());
  if (auto *F = dyn_cast<ConstantFP>(C))
    return "float " + number(F->getValueAPF().bitcastToAPInt());
  if (auto *D = dyn_cast<ConstantDataSequential>(C))
    return "data " + hex(D->getRawDataValues());
  if (auto *A = dyn_cast<ConstantAggregate>(C)) {
    std::string Out = "{";
    for (unsigned I = 0; I != A->getNumOperands(); ++I)
      Out += (I ? ", " : "") + constant(A->getOperand(I));
    return Out + "}";
  }
  if (auto *B = dyn_cast<BlockAddress>(C)) {
    size_t Index = 0;
    for (const BasicBlock &Block : *B->getFunction()) {
      if (&Block == B->getBasicBlock())
        return "(blockaddress " + globalRef(B->getFunction()) + " " + std::to_string(Index) + ")";
      ++Index;
    }
    die("a block outside its function");
  }
  if (auto *D = dyn_cast<DSOLocalEquivalent>(C))
    return "(dso_local_equivalent " + globalRef(D->getGlobalValue()) + ")";
  if (auto *N = dyn_cast<NoCFIValue>(C))
    return "(no_cfi " + globalRef(N->getGlobalValue()) + ")";
  if (auto *P = dyn_cast<ConstantPtrAuth>(C))
    return expression("ptrauth", {P->getPointer(), P->getKey(), P->getDiscriminator(), P->getAddrDiscriminator(),
                                  P->getDeactivationSymbol()});
  auto *E = dyn_cast<ConstantExpr>(C);
  if (!E)
    die("a constant that has no form");
  if (auto *Gep = dyn_cast<GEPOperator>(E)) {
    std::string Out = "(gep";
    if (Gep->isInBounds())
      Out += " inbounds";
    if (Gep->hasNoUnsignedSignedWrap())
      Out += " nusw";
    if (Gep->hasNoUnsignedWrap())
      Out += " nuw";
    if (auto R = Gep->getInRange())
      Out += " inrange" + range(*R);
    Out += " " + type(Gep->getSourceElementType()) + ": ";
    for (unsigned I = 0; I != E->getNumOperands(); ++I)
      Out += (I ? ", " : "") + constant(E->getOperand(I));
    return Out + ")";
  }
  std::vector<const Constant *> Operands;
  for (unsigned I = 0; I != E->getNumOperands(); ++I)
    Operands.push_back(E->getOperand(I));
  std::string Name = E->getOpcodeName();
  if (auto *O = dyn_cast<OverflowingBinaryOperator>(E)) {
    if (O->hasNoUnsignedWrap())
      Name += " nuw";
    if (O->hasNoSignedWrap())
      Name += " nsw";
  }
  if (E->getOpcode() == Instruction::ShuffleVector)
    Operands.push_back(E->getShuffleMaskForBitcode());
  return expression(Name, Operands);
}

std::string attribute(Attribute A) {
  if (A.isStringAttribute())
    return text(A.getKindAsString()) + "=" + text(A.getValueAsString());
  std::string Name = Attribute::getNameFromAttrKind(A.getKindAsEnum()).str();
  if (A.isIntAttribute()) {
    char Buffer[32];
    snprintf(Buffer, sizeof Buffer, "=0x%llx", (unsigned long long)A.getValueAsInt());
    return Name + Buffer;
  }
  if (A.isTypeAttribute())
    return Name + "(" + (A.getValueAsType() ? type(A.getValueAsType()) : "") + ")";
  if (A.isConstantRangeAttribute())
    return Name + range(A.getValueAsConstantRange());
  if (A.isConstantRangeListAttribute()) {
    for (const ConstantRange &R : A.getValueAsConstantRangeList())
      Name += range(R);
    return Name;
  }
  return Name;
}

std::string attributeSet(const std::string &Place, AttributeSet Set) {
  std::vector<std::string> Texts;
  for (Attribute A : Set)
    Texts.push_back(attribute(A));
  std::sort(Texts.begin(), Texts.end());
  std::string Out = Place + ":";
  for (const std::string &Text : Texts)
    Out += " " + Text;
  return Out;
}

std::string attributes(AttributeList List) {
  std::vector<std::string> Sets;
  if (List.hasFnAttrs())
    Sets.push_back(attributeSet("function", List.getFnAttrs()));
  if (List.hasRetAttrs())
    Sets.push_back(attributeSet("return", List.getRetAttrs()));
  for (unsigned Index : List.indexes())
    if (Index != AttributeList::FunctionIndex && Index != AttributeList::ReturnIndex &&
        List.getAttributes(Index).hasAttributes())
      Sets.push_back(attributeSet(std::to_string(Index - AttributeList::FirstArgIndex), List.getAttributes(Index)));
  std::string Out = " attributes=[";
  for (size_t I = 0; I != Sets.size(); ++I)
    Out += (I ? ", " : "") + Sets[I];
  return Out + "]";
}

const char *linkage(GlobalValue::LinkageTypes L) {
  switch (L) {
  case GlobalValue::ExternalLinkage:            return "external";
  case GlobalValue::AvailableExternallyLinkage: return "available_externally";
  case GlobalValue::LinkOnceAnyLinkage:         return "linkonce";
  case GlobalValue::LinkOnceODRLinkage:         return "linkonce_odr";
  case GlobalValue::WeakAnyLinkage:             return "weak";
  case GlobalValue::WeakODRLinkage:             return "weak_odr";
  case GlobalValue::AppendingLinkage:           return "appending";
  case GlobalValue::InternalLinkage:            return "internal";
  case GlobalValue::PrivateLinkage:             return "private";
  case GlobalValue::ExternalWeakLinkage:        return "extern_weak";
  case GlobalValue::CommonLinkage:              return "common";
  }
  die("a linkage that has no form");
}

const char *threadLocal(GlobalValue::ThreadLocalMode Mode) {
  switch (Mode) {
  case GlobalValue::NotThreadLocal:         return "";
  case GlobalValue::GeneralDynamicTLSModel: return " tls=general-dynamic";
  case GlobalValue::LocalDynamicTLSModel:   return " tls=local-dynamic";
  case GlobalValue::InitialExecTLSModel:    return " tls=initial-exec";
  case GlobalValue::LocalExecTLSModel:      return " tls=local-exec";
  }
  die("a thread-local mode that has no form");
}

std::string symbol(const char *Kind, const GlobalValue &G) {
  static const char *const Visibility[] = {"default", "hidden", "protected"};
  static const char *const Dll[] = {"default", "dllimport", "dllexport"};
  std::string Out = std::string(Kind) + " " + text(G.getName()) + " linkage=" + linkage(G.getLinkage()) +
                    " visibility=" + Visibility[G.getVisibility()] + " dll=" + Dll[G.getDLLStorageClass()] +
                    " unnamed=" +
                    (G.hasGlobalUnnamedAddr()        ? "unnamed_addr"
                     : G.hasAtLeastLocalUnnamedAddr() ? "local_unnamed_addr"
                                                      : "none") +
                    " dso_local=" + (G.isDSOLocal() ? "1" : "0") + " space=" + std::to_string(G.getAddressSpace());
  if (G.hasPartition())
    Out += " partition=" + text(G.getPartition());
  return Out + " type=" + type(G.getValueType());
}

bool holdsTargetType(Type *T) {
  if (isa<TargetExtType>(T))
    return true;
  return any_of(T->subtypes(), holdsTargetType);
}

std::string layout(Type *T, const DataLayout &Layout) {
  if (!T->isSized() || holdsTargetType(T))
    return "";
  TypeSize Bits = Layout.getTypeSizeInBits(T);
  auto N = [](uint64_t Value) { return std::to_string(Value); };
  std::string Out = " layout=" + N(Bits.getKnownMinValue()) + ":" +
                    N(Layout.getTypeStoreSize(T).getKnownMinValue()) + ":" +
                    N(Layout.getTypeAllocSize(T).getKnownMinValue()) + ":" + N(Layout.getABITypeAlign(T).value()) +
                    ":" + N(Layout.getPrefTypeAlign(T).value());
  if (Bits.isScalable())
    Out += ":scalable";
  if (auto *S = dyn_cast<StructType>(T))
    for (unsigned I = 0; I != S->getNumElements(); ++I)
      Out += "+" + N(Layout.getStructLayout(S)->getElementOffset(I).getKnownMinValue());
  return Out;
}

std::string globalRow(const GlobalVariable &G, const DataLayout &Layout) {
  std::string Out = symbol("global", G) + layout(G.getValueType(), Layout);
  if (G.isConstant())
    Out += " constant";
  if (G.isExternallyInitialized())
    Out += " externally_initialized";
  Out += threadLocal(G.getThreadLocalMode());
  if (G.getAlign())
    Out += " align=" + std::to_string(G.getAlign()->value());
  if (G.hasSection())
    Out += " section=" + text(G.getSection());
  if (G.hasComdat())
    Out += " comdat=" + text(G.getComdat()->getName());
  if (G.hasSanitizerMetadata()) {
    auto Meta = G.getSanitizerMetadata();
    if (Meta.NoAddress)
      Out += " no_sanitize_address";
    if (Meta.NoHWAddress)
      Out += " no_sanitize_hwaddress";
    if (Meta.Memtag)
      Out += " sanitize_memtag";
    if (Meta.IsDynInit)
      Out += " sanitize_address_dyninit";
  }
  if (auto Model = G.getCodeModel()) {
    static const char *const Names[] = {"tiny", "small", "kernel", "medium", "large"};
    Out += std::string(" code_model=") + Names[*Model];
  }
  AttributeSet Set = G.getAttributes();
  Out += Set.hasAttributes() ? " attributes=[" + attributeSet("function", Set) + "]" : " attributes=[]";
  if (G.hasInitializer())
    Out += " initializer=" + constant(G.getInitializer());
  return Out;
}

std::string functionRow(const Function &F) {
  std::string Out = symbol("function", F);
  if (F.isDeclaration())
    Out += " declaration";
  Out += " cc=" + std::to_string(F.getCallingConv());
  if (F.getAlign())
    Out += " align=" + std::to_string(F.getAlign()->value());
  if (F.hasSection())
    Out += " section=" + text(F.getSection());
  if (F.hasGC())
    Out += " gc=" + text(F.getGC());
  if (F.hasComdat())
    Out += " comdat=" + text(F.getComdat()->getName());
  // The reader replaces attributes of intrinsics by those of LLVM's own table (UpgradeIntrinsicFunction).
  Out += F.getName().starts_with("llvm.") ? " attributes=intrinsic" : attributes(F.getAttributes());
  if (F.hasPersonalityFn())
    Out += " personality=" + constant(F.getPersonalityFn());
  if (F.hasPrefixData())
    Out += " prefix=" + constant(F.getPrefixData());
  if (F.hasPrologueData())
    Out += " prologue=" + constant(F.getPrologueData());
  return Out;
}

void print(const std::string &Row) { printf("%s\n", Row.c_str()); }

// What comes before the bodies are read: reading them registers further kinds of metadata.
void printTables(const Module &M) {
  print("module triple=" + text(M.getTargetTriple().str()) + " datalayout=" + text(M.getDataLayoutStr()) + " source=" +
        text(M.getSourceFileName()) + " asm=" + text(M.getModuleInlineAsm()));

  static const char *const Selections[] = {"any", "exactmatch", "largest", "nodeduplicate", "samesize"};
  std::vector<std::string> Comdats;
  for (const auto &Entry : M.getComdatSymbolTable())
    Comdats.push_back("comdat " + text(Entry.getKey()) + " " + Selections[Entry.second.getSelectionKind()]);
  std::sort(Comdats.begin(), Comdats.end());
  for (const std::string &Row : Comdats)
    print(Row);

  SmallVector<StringRef, 0> Names;
  M.getContext().getOperandBundleTags(Names);
  for (size_t I = 0; I != Names.size(); ++I)
    print("bundle " + std::to_string(I) + " " + text(Names[I]));
  Names.clear();
  M.getContext().getSyncScopeNames(Names);
  for (size_t I = 0; I != Names.size(); ++I)
    print("syncscope " + std::to_string(I) + " " + text(Names[I]));
  Names.clear();
  M.getContext().getMDKindNames(Names);
  for (size_t I = 0; I != Names.size(); ++I)
    print("mdkind " + std::to_string(I) + " " + text(Names[I]));

}

void printSymbols(const Module &M) {
  for (const GlobalVariable &G : M.globals())
    print(globalRow(G, M.getDataLayout()));
  for (const Function &F : M)
    print(functionRow(F));
  for (const GlobalAlias &A : M.aliases())
    print(symbol("alias", A) + threadLocal(A.getThreadLocalMode()) + " target=" + constant(A.getAliasee()));
  for (const GlobalIFunc &I : M.ifuncs())
    print(symbol("ifunc", I) + " target=" + constant(I.getResolver()));
}

// The instructions of one function.
class BodyPrinter {
public:
  explicit BodyPrinter(const Function &F) : F(F) {
    unsigned Blocks = 0, Results = 0, Arguments = 0;
    for (const Argument &A : F.args())
      Names[&A] = "%a" + std::to_string(Arguments++);
    for (const BasicBlock &B : F) {
      Names[&B] = "b" + std::to_string(Blocks++);
      for (const Instruction &I : B)
        if (!I.getType()->isVoidTy())
          Names[&I] = "%" + std::to_string(Results++);
    }
  }

  void print() {
    ::print("body " + globalRef(&F) + " blocks=" + std::to_string(F.size()) +
            " arguments=" + std::to_string(F.arg_size()));
    for (const BasicBlock &B : F)
      for (const Instruction &I : B)
        ::print(row(I));
  }

private:
  const Function &F;
  std::unordered_map<const Value *, std::string> Names;

  std::string operand(const Value *V) {
    if (auto It = Names.find(V); It != Names.end())
      return isa<BasicBlock>(V) ? It->second : type(V->getType()) + " " + It->second;
    if (isa<MetadataAsValue>(V))
      return "metadata";
    if (auto *A = dyn_cast<InlineAsm>(V))
      return type(A->getType()) + " (asm " +
             std::to_string(A->hasSideEffects() | A->isAlignStack() << 1 |
                            (A->getDialect() == InlineAsm::AD_Intel) << 2 | A->canThrow() << 3) +
             " " + text(A->getAsmString()) + " " + text(A->getConstraintString()) + ")";
    if (auto *C = dyn_cast<Constant>(V))
      return constant(C);
    die("an operand that has no form");
  }

  std::string list(ArrayRef<const Value *> Operands) {
    std::string Out;
    for (size_t I = 0; I != Operands.size(); ++I)
      Out += (I ? ", " : "") + operand(Operands[I]);
    return Out;
  }

  static std::string number(const char *Key, uint64_t N) {
    return N ? std::string(" ") + Key + "=" + std::to_string(N) : "";
  }

  static unsigned ordering(AtomicOrdering O) {
    switch (O) {
    case AtomicOrdering::NotAtomic:              return 0;
    case AtomicOrdering::Unordered:              return 1;
    case AtomicOrdering::Monotonic:              return 2;
    case AtomicOrdering::Acquire:                return 3;
    case AtomicOrdering::Release:                return 4;
    case AtomicOrdering::AcquireRelease:         return 5;
    case AtomicOrdering::SequentiallyConsistent: return 6;
    }
    die("an ordering that has no form");
  }

  static std::string access(bool Volatile, bool Atomic, AtomicOrdering O, SyncScope::ID Scope) {
    std::string Out = number("ordering", ordering(O));
    if (Volatile)
      Out += " volatile";
    if (Atomic && Scope == SyncScope::SingleThread)
      Out += " singlethread";
    return Out;
  }

  static std::string align(Align A) { return " align=" + std::to_string(Log2(A) + 1); }

  static unsigned flags(const Instruction &I) {
    if (isa<OverflowingBinaryOperator>(I))
      return I.hasNoUnsignedWrap() | I.hasNoSignedWrap() << 1;
    if (auto *T = dyn_cast<TruncInst>(&I))
      return T->hasNoUnsignedWrap() | T->hasNoSignedWrap() << 1;
    if (isa<PossiblyExactOperator>(I))
      return I.isExact();
    if (auto *D = dyn_cast<PossiblyDisjointInst>(&I))
      return D->isDisjoint();
    if (isa<PossiblyNonNegInst>(I))
      return I.hasNonNeg();
    if (auto *C = dyn_cast<ICmpInst>(&I))
      return C->hasSameSign();
    if (auto *G = dyn_cast<GetElementPtrInst>(&I))
      return G->isInBounds() | G->hasNoUnsignedSignedWrap() << 1 | G->hasNoUnsignedWrap() << 2;
    return 0;
  }

  static unsigned fastMath(const Instruction &I) {
    if (!isa<FPMathOperator>(I))
      return 0;
    FastMathFlags M = I.getFastMathFlags();
    return M.allowReassoc() | M.noNaNs() << 1 | M.noInfs() << 2 | M.noSignedZeros() << 3 |
           M.allowReciprocal() << 4 | M.allowContract() << 5 | M.approxFunc() << 6;
  }

  std::string call(const CallBase &C) {
    unsigned Tail = 0;
    if (auto *Call = dyn_cast<CallInst>(&C))
      Tail = Call->getTailCallKind();
    std::string Out = " fn=" + type(C.getFunctionType()) + " cc=" + std::to_string(C.getCallingConv()) +
                      " tail=" + std::to_string(Tail) + attributes(C.getAttributes());
    for (unsigned I = 0; I != C.getNumOperandBundles(); ++I) {
      OperandBundleUse Bundle = C.getOperandBundleAt(I);
      std::vector<const Value *> Inputs(Bundle.Inputs.begin(), Bundle.Inputs.end());
      Out += " bundle " + text(Bundle.getTagName()) + "(" + list(Inputs) + ")";
    }
    return Out;
  }

  std::string row(const Instruction &I) {
    std::string Name = I.getOpcodeName();
    std::string Extra, Operands;
    std::vector<const Value *> Values(I.value_op_begin(), I.value_op_end());
    auto Plain = [&](ArrayRef<const Value *> List) { Operands = list(List); };
    auto Append = [&](const std::string &Text) { Operands += (Operands.empty() ? "" : ", ") + Text; };
    Plain(Values);
    if (auto *C = dyn_cast<CmpInst>(&I)) {
      Extra += number("sub", C->getPredicate());
    } else if (auto *G = dyn_cast<GetElementPtrInst>(&I)) {
      Extra += " of=" + type(G->getSourceElementType());
    } else if (auto *A = dyn_cast<AllocaInst>(&I)) {
      Extra += align(A->getAlign()) + " of=" + type(A->getAllocatedType());
      if (A->isUsedWithInAlloca() || A->isSwiftError())
        Extra += " special";
    } else if (auto *L = dyn_cast<LoadInst>(&I)) {
      Extra += align(L->getAlign()) + access(L->isVolatile(), L->isAtomic(), L->getOrdering(), L->getSyncScopeID());
    } else if (auto *S = dyn_cast<StoreInst>(&I)) {
      Extra += align(S->getAlign()) + access(S->isVolatile(), S->isAtomic(), S->getOrdering(), S->getSyncScopeID());
      Plain({S->getPointerOperand(), S->getValueOperand()});
    } else if (auto *X = dyn_cast<AtomicCmpXchgInst>(&I)) {
      Extra += number("sub", ordering(X->getFailureOrdering())) + align(X->getAlign()) +
               access(X->isVolatile(), true, X->getSuccessOrdering(), X->getSyncScopeID());
      if (X->isWeak())
        Extra += " weak";
    } else if (auto *R = dyn_cast<AtomicRMWInst>(&I)) {
      Extra += number("sub", R->getOperation()) + align(R->getAlign()) +
               access(R->isVolatile(), true, R->getOrdering(), R->getSyncScopeID());
    } else if (auto *E = dyn_cast<FenceInst>(&I)) {
      Extra += access(false, true, E->getOrdering(), E->getSyncScopeID());
    } else if (auto *V = dyn_cast<ShuffleVectorInst>(&I)) {
      Plain({V->getOperand(0), V->getOperand(1), V->getShuffleMaskForBitcode()});
    } else if (auto *V = dyn_cast<ExtractValueInst>(&I)) {
      for (unsigned Index : V->indices())
        Append(std::to_string(Index));
    } else if (auto *V = dyn_cast<InsertValueInst>(&I)) {
      for (unsigned Index : V->indices())
        Append(std::to_string(Index));
    } else if (auto *P = dyn_cast<PHINode>(&I)) {
      Operands = "";
      for (unsigned N = 0; N != P->getNumIncomingValues(); ++N) {
        Append(operand(P->getIncomingValue(N)));
        Append(operand(P->getIncomingBlock(N)));
      }
    } else if (auto *L = dyn_cast<LandingPadInst>(&I)) {
      if (L->isCleanup())
        Extra += " cleanup";
      Operands = "";
      for (unsigned N = 0; N != L->getNumClauses(); ++N) {
        Append(L->isFilter(N) ? "1" : "0");
        Append(operand(L->getClause(N)));
      }
    } else if (auto *B = dyn_cast<BranchInst>(&I)) {
      if (B->isConditional())
        Plain({B->getCondition(), B->getSuccessor(0), B->getSuccessor(1)});
    } else if (auto *S = dyn_cast<SwitchInst>(&I)) {
      Plain({S->getCondition(), S->getDefaultDest()});
      for (auto &Case : S->cases()) {
        Append(operand(Case.getCaseValue()));
        Append(operand(Case.getCaseSuccessor()));
      }
    } else if (auto *C = dyn_cast<CallBase>(&I)) {
      Extra += call(*C);
      Plain({C->getCalledOperand()});
      if (auto *Invoke = dyn_cast<InvokeInst>(C)) {
        Append(operand(Invoke->getNormalDest()));
        Append(operand(Invoke->getUnwindDest()));
      } else if (auto *Br = dyn_cast<CallBrInst>(C)) {
        Append(operand(Br->getDefaultDest()));
        Append(std::to_string(Br->getNumIndirectDests()));
        for (unsigned N = 0; N != Br->getNumIndirectDests(); ++N)
          Append(operand(Br->getIndirectDest(N)));
      }
      for (const Value *A : C->args())
        Append(operand(A));
    } else if (auto *R = dyn_cast<CleanupReturnInst>(&I)) {
      Name = "funclet";
      Extra += " sub=48";
      Plain({R->getCleanupPad()});
      if (R->hasUnwindDest())
        Append(operand(R->getUnwindDest()));
    } else if (auto *R = dyn_cast<CatchReturnInst>(&I)) {
      Name = "funclet";
      Extra += " sub=49";
      Plain({R->getCatchPad(), R->getSuccessor()});
    } else if (auto *P = dyn_cast<FuncletPadInst>(&I)) {
      Name = "funclet";
      Extra += isa<CatchPadInst>(P) ? " sub=50" : " sub=51";
      Plain({P->getParentPad()});
      Append(std::to_string(P->arg_size()));
      for (unsigned N = 0; N != P->arg_size(); ++N)
        Append(operand(P->getArgOperand(N)));
    } else if (auto *S = dyn_cast<CatchSwitchInst>(&I)) {
      Name = "funclet";
      Extra += " sub=52";
      Plain({S->getParentPad()});
      Append(std::to_string(S->getNumHandlers()));
      for (const BasicBlock *B : S->handlers())
        Append(operand(B));
      if (S->hasUnwindDest())
        Append(operand(S->getUnwindDest()));
    }
    std::string At;
    if (const DebugLoc &L = I.getDebugLoc())
      At = " at=" + std::to_string(L.getLine()) + ":" + std::to_string(L.getCol()) + (L.getInlinedAt() ? ":inlined" : "");
    auto It = Names.find(&I);
    return Names[I.getParent()] + " " + (It == Names.end() ? "-" : It->second) + " " + Name + " " + type(I.getType()) +
           number("flags", flags(I)) + number("fast", fastMath(I)) + Extra + ": " + Operands + At;
  }
};

void printBodies(const Module &M) {
  for (const Function &F : M)
    if (!F.isDeclaration())
      BodyPrinter(F).print();
}

/// Where each instruction with a debug location comes from, the innermost call first.
void printLocations(const Module &M) {
  auto Place = [](const DILocalScope *S, unsigned Line, unsigned Column) {
    const DISubprogram *P = S->getSubprogram();
    return text(P->getName()) + " " + text(P->getLinkageName()) + " " + text(P->getFilename()) + ":" +
           std::to_string(P->getLine()) + ":" + std::to_string(P->getScopeLine()) + " language " +
           std::to_string(uint16_t(P->getUnit()->getSourceLanguage().getUnversionedName())) + " at " + text(S->getDirectory()) +
           " " + text(S->getFilename()) + ":" + std::to_string(Line) + ":" + std::to_string(Column);
  };
  for (const Function &F : M)
    for (const BasicBlock &B : F)
      for (const Instruction &I : B) {
        if (!I.getDebugLoc())
          continue;
        for (const DILocation *L = I.getDebugLoc(); L; L = L->getInlinedAt())
          printf("%s%s", Place(L->getScope(), L->getLine(), L->getColumn()).c_str(),
                 L->getInlinedAt() ? " < " : "\n");
      }
}

} // namespace

int main(int Argc, char **Argv) {
  bool Locations = Argc > 1 && StringRef(Argv[1]) == "--locations";
  bool Bodies = Argc > 1 && StringRef(Argv[1]) == "--bodies";
  for (int I = Locations || Bodies ? 2 : 1; I < Argc; ++I) {
    auto Buffer = MemoryBuffer::getFile(Argv[I]);
    if (!Buffer)
      die(std::string(Argv[I]) + ": " + Buffer.getError().message());
    auto Modules = getBitcodeModuleList(**Buffer);
    if (!Modules)
      die(std::string(Argv[I]) + ": " + toString(Modules.takeError()));
    for (BitcodeModule &BM : *Modules) {
      LLVMContext Context;
      auto M = BM.getLazyModule(Context, /*ShouldLazyLoadMetadata=*/true, /*IsImporting=*/false);
      if (!M)
        die(std::string(Argv[I]) + ": " + toString(M.takeError()));
      if (!Locations && !Bodies)
        printTables(**M);
      if (Error E = (*M)->materializeAll())
        die(std::string(Argv[I]) + ": " + toString(std::move(E)));
      if (Locations) {
        printLocations(**M);
        continue;
      }
      std::string Wrong;
      raw_string_ostream Stream(Wrong);
      if (Bodies && verifyModule(**M, &Stream))
        die(std::string(Argv[I]) + ": " + Wrong);
      if (!Bodies)
        printSymbols(**M);
      printBodies(**M);
    }
  }
}
