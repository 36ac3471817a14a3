; Every linkage, visibility, thread-local mode, COMDAT selection and flag of a symbol.
source_filename = "dir/symbols \22quoted\22.c"
target datalayout = "e-m:e-p270:32:32-p271:32:32-p272:64:64-i64:64-i128:128-f80:128-n8:16:32:64-S128"
target triple = "x86_64-unknown-linux-gnu"

module asm "  .globl from_asm"
module asm "from_asm: .quad \22x\22"

$any = comdat any
$exact = comdat exactmatch
$largest = comdat largest
$nodup = comdat nodeduplicate
$samesize = comdat samesize

@plain = global i32 7
@declared = external global i32
@weak_declared = extern_weak global i32
@constant = constant i32 8
@internal = internal global i32 1
@private = private unnamed_addr constant [3 x i8] c"a\00b"
@weak = weak global i32 2
@weak_odr = weak_odr global i32 3
@linkonce = linkonce global i32 4
@linkonce_odr = linkonce_odr local_unnamed_addr constant i32 5
@common = common global i32 0, align 4
@copy = available_externally global i32 6
@hidden = hidden global i32 9
@protected = protected global i32 10
@hidden_weak = extern_weak hidden global i32
@dll_import = external dllimport global i32
@dll_export = dllexport global i32 3
@local = dso_local global i32 11
@tls = thread_local global i32 12
@tls_local_dynamic = thread_local(localdynamic) global i32 13
@tls_initial_exec = thread_local(initialexec) global i32 14
@tls_local_exec = internal thread_local(localexec) global i32 0
@tls_declared = external thread_local global i32
@unnamed_address = unnamed_addr constant i32 15
@initialized_elsewhere = externally_initialized global i32 16
@sectioned = global i32 17, section ".special data", align 32
@big_alignment = global i32 18, align 65536
@in_any = global i32 19, comdat($any)
@in_exact = global i32 20, comdat($exact), align 8
@in_largest = global i32 21, section "s2", comdat($largest)
@in_nodup = global i32 22, comdat($nodup)
@in_samesize = global i32 22, comdat($samesize)
@any = global i32 23, comdat
@attributed = global i32 24 #0
@partitioned = global i32 25, partition "part"
@small_model = global i32 26, code_model "small"
@large_model = global i32 26, code_model "large"
@no_asan = global i32 27, no_sanitize_address
@no_hwasan = global i32 28, no_sanitize_hwaddress, sanitize_memtag
@dyninit = global i32 29, sanitize_address_dyninit
@0 = global i32 30
@1 = private constant ptr @0
@"with \22quotes\22 and \C3\A4\01" = global i32 31
@llvm.used = appending global [2 x ptr] [ptr @internal, ptr @f_internal], section "llvm.metadata"
@llvm.compiler.used = appending global [1 x ptr] [ptr @hidden], section "llvm.metadata"
@llvm.global_ctors = appending global [2 x { i32, ptr, ptr }] [{ i32, ptr, ptr } { i32 65535, ptr @f_internal, ptr null }, { i32, ptr, ptr } { i32 101, ptr @f_hidden, ptr @plain }]
@llvm.global_dtors = appending global [1 x { i32, ptr, ptr }] [{ i32, ptr, ptr } { i32 5, ptr @f_internal, ptr null }]

@alias = alias i32, ptr @plain
@alias_weak = weak hidden alias i32, ptr @plain
@alias_offset = internal alias i8, getelementptr (i8, ptr @plain, i64 2)
@alias_tls = thread_local alias i32, ptr @tls
@alias_alias = dllexport unnamed_addr alias i32, ptr @alias
@alias_f = alias void (), ptr @f_plain
@2 = private alias i32, ptr @plain
@alias_space = alias i32, addrspacecast (ptr addrspace(3) @space3 to ptr)
@space3 = addrspace(3) global i32 1
@space3_declared = external addrspace(3) global i32
@alias3 = alias i32, ptr addrspace(3) @space3
@alias_partition = alias i32, ptr @plain, partition "other"

@ifunc = ifunc i32 (i32), ptr @resolver
@ifunc_internal = internal ifunc i32 (i32), ptr @resolver
@ifunc_hidden = hidden ifunc i32 (i32), ptr @resolver, partition "other"
@uses_ifunc = global ptr @ifunc

define ptr @resolver() { ret ptr @f_plain }
define void @f_plain() { ret void }
define internal void @f_internal() { ret void }
define private void @f_private() { ret void }
define hidden void @f_hidden() { ret void }
define protected void @f_protected() { ret void }
define weak void @f_weak() { ret void }
define weak_odr void @f_weak_odr() comdat($any) { ret void }
define linkonce void @f_linkonce() { ret void }
define linkonce_odr hidden void @f_linkonce_odr() comdat { ret void }
define available_externally void @f_copy() { ret void }
define dso_local void @f_local() unnamed_addr { ret void }
define fastcc void @f_fast() local_unnamed_addr { ret void }
define cc 1000 void @f_cc() { ret void }
define x86_regcallcc i32 @f_regcall(i32 %x) { ret i32 %x }
define void @f_section() section ".text.odd" align 64 { ret void }
define void @f_gc() gc "statepoint-example" { ret void }
define void @f_gc2() gc "erlang" { ret void }
define void @f_prefix() prefix i32 123 { ret void }
define void @f_prologue() prologue i8 144 { ret void }
define void @f_personality() personality ptr @__gxx_personality_v0 { ret void }
define void @f_all() prefix [2 x i32] [i32 1, i32 2] prologue i8 144 personality ptr @__gxx_personality_v0 { ret void }
define void @f_space() addrspace(5) { ret void }
define void @f_partition() partition "p2" { ret void }
define void @3() { ret void }
define i32 @f_many(i32, ptr, <4 x float>, { i32, i8 }, ...) { ret i32 0 }
declare void @d_plain()
declare extern_weak void @d_weak()
declare dllimport void @d_dll()
declare hidden void @d_hidden()
declare i32 @__gxx_personality_v0(...)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

attributes #0 = { "bss-section"="my_bss" "data-section"="my_data" }
$f_linkonce_odr = comdat any
