; Attributes of every form on functions, return values, parameters and globals.
target datalayout = "e-m:e-i64:64"

%s = type { i64, [3 x i32] }

define nonnull align 16 dereferenceable(8) noundef ptr @parameters(ptr byval(%s) align 8 %a, ptr sret(%s) noalias writable dead_on_unwind %b, ptr byref(i32) %c, ptr nest %d, i8 signext range(i8 -5, 100) %e, i8 zeroext noext %f, ptr nocapture readonly %g, ptr captures(address, read_provenance) %h, ptr dereferenceable_or_null(24) %i, ptr swiftself %j, float nofpclass(nan inf) %k, ptr initializes((0, 4), (8, 16)) writeonly %l, ptr dead_on_return %m, ptr elementtype(i32) readnone %n, i128 range(i128 -1, 18446744073709551616) %o, ptr nofree %p, i32 inreg returned %q) { unreachable }
define void @inalloca(ptr inalloca(%s) %a) { ret void }
define void @preallocated(ptr preallocated(%s) %a) { ret void }
define void @swift(ptr swiftasync %a, ptr swifterror %b) { ret void }
define zeroext range(i8 0, 2) i8 @result() { ret i8 1 }
define ptr @alloc(i64 %n, i64 allocalign %a, ptr allocptr %p) allocsize(0, 1) allockind("alloc,zeroed,aligned") "alloc-family"="malloc" { ret ptr %p }
define ptr @alloc1(i64 %n) allocsize(0) allockind("realloc") { unreachable }
define void @memory() memory(argmem: readwrite, inaccessiblemem: write, errnomem: read) nounwind willreturn nosync nofree norecurse mustprogress { ret void }
define void @memory_none() memory(none) speculatable { ret void }
define void @flags() alwaysinline nobuiltin cold convergent disable_sanitizer_instrumentation { ret void }
define void @flags2() noinline hot naked noduplicate noimplicitfloat nonlazybind noredzone noreturn nocf_check { unreachable }
define void @flags3() optsize minsize null_pointer_is_valid optforfuzzing nomerge noprofile skipprofile nosanitize_bounds nosanitize_coverage { ret void }
define void @flags4() noinline optnone returns_twice safestack sanitize_address sanitize_thread sanitize_memory sanitize_hwaddress sanitize_memtag sanitize_realtime sanitize_type sanitize_numerical_stability { ret void }
define void @flags5() shadowcallstack speculative_load_hardening ssp strictfp jumptable fn_ret_thunk_extern presplitcoroutine coro_only_destroy_when_complete coro_elide_safe { ret void }
define void @flags6() sspreq uwtable inlinehint optdebug sanitize_realtime_blocking nodivergencesource nocallback sanitize_alloc_token nocreateundeforpoison { ret void }
define void @flags7() sspstrong uwtable(sync) alignstack(16) vscale_range(2, 16) { ret void }
define void @strings() "target-cpu"="x86-64" "target-features"="+cx8,+sse" "empty" "odd \22key\22\01"="odd \5Cvalue\FF" { ret void }
define void @everything(ptr align 4096 %a) #0 { ret void }
declare void @variadic(ptr noalias, ...) #1
declare i32 @d1(i32 immarg) #1
declare void @scalable(<vscale x 4 x i32>) vscale_range(1, 0)

@global = global i32 1 #2

attributes #0 = { nounwind uwtable(async) "frame-pointer"="all" "no-trapping-math"="true" }
attributes #1 = { nounwind memory(read) }
attributes #2 = { "rodata-section"="my_rodata" "bss-section"="b" }
