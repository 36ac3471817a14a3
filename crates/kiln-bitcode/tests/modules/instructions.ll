; Every instruction, with every flag, in odd and vector types.
target datalayout = "e-m:e-p270:32:32-p271:32:32-p272:64:64-i64:64-i128:128-f80:128-n8:16:32:64-S128"
target triple = "x86_64-unknown-linux-gnu"

%pair = type { i32, [3 x { i8, ptr }] }
@global = global i64 7
@table = global [4 x i32] zeroinitializer
@type_info = external constant ptr
declare i32 @personality(...)
declare void @takes(i32, ...)
declare double @float_result(double)
declare { double, double } @two_floats()
declare <4 x float> @vector_result(<4 x float>)
declare void @takes_metadata(metadata, i8)
declare token @make_token()
declare ptr @callee(ptr noalias align 8, i8 zeroext, ptr byval(%pair))
declare fastcc i7 @fast_convention(i7)

define void @integers(i7 %a, i32 %b, i64 %c, i128 %d, i257 %e, i1 %f) {
  %1 = add i7 %a, -64
  %2 = add nuw i7 %1, 63
  %3 = add nsw i32 %b, -2147483648
  %4 = add nuw nsw i32 %3, 2147483647
  %5 = sub i64 %c, -9223372036854775808
  %6 = sub nsw i64 9223372036854775807, %5
  %7 = mul nuw i128 %d, -170141183460469231731687303715884105728
  %8 = mul nsw i257 %e, 1234567890123456789012345678901234567890
  %9 = udiv exact i32 %4, 3
  %10 = udiv i32 %9, -1
  %11 = sdiv exact i32 %10, -3
  %12 = sdiv i32 %11, 3
  %13 = urem i32 %12, 5
  %14 = srem i32 %13, -5
  %15 = shl nuw nsw i32 %14, 1
  %16 = lshr exact i32 %15, 1
  %17 = ashr exact i32 %16, 1
  %18 = and i32 %17, 255
  %19 = or disjoint i32 %18, 256
  %20 = or i32 %19, %b
  %21 = xor i32 %20, -1
  %22 = xor i1 %f, true
  %23 = icmp eq i1 %22, false
  %24 = icmp ne i7 %2, 0
  %25 = icmp ugt i64 %6, undef
  %26 = icmp uge i128 %7, poison
  %27 = icmp samesign ult i32 %21, 7
  %28 = icmp ule i257 %8, 1
  %29 = icmp sgt ptr @global, null
  %30 = icmp sge i64 %c, 0
  %31 = icmp samesign slt i64 %c, 0
  %32 = icmp sle <3 x i7> zeroinitializer, <i7 -1, i7 0, i7 poison>
  %33 = icmp eq <2 x ptr> poison, zeroinitializer
  ret void
}

define double @floats(half %h, bfloat %b, float %f, double %d, x86_fp80 %x, fp128 %q, <3 x float> %v) {
  %1 = fneg half %h
  %2 = fneg nnan ninf bfloat %b
  %3 = fadd fast float %f, 0x7FF8000000000000
  %4 = fsub reassoc nsz float %3, -0.0
  %5 = fmul arcp contract double %d, 3.0
  %6 = fdiv afn x86_fp80 %x, 0xK3FFF8000000000000000
  %7 = frem nnan fp128 %q, 0xL00000000000000003FFF000000000000
  %8 = fadd nsz <3 x float> %v, <float 1.0, float poison, float -0.0>
  %9 = fcmp fast oeq float %4, 0.0
  %10 = fcmp false half %1, %h
  %11 = fcmp ogt bfloat %2, 0xR3F80
  %12 = fcmp oge double %5, 1.0
  %13 = fcmp olt x86_fp80 %6, %x
  %14 = fcmp ole fp128 %7, %q
  %15 = fcmp one <3 x float> %8, %v
  %16 = fcmp ord double %5, 1.0
  %17 = fcmp uno double %5, 1.0
  %18 = fcmp ueq double %5, 1.0
  %19 = fcmp ugt double %5, 1.0
  %20 = fcmp uge double %5, 1.0
  %21 = fcmp ult double %5, 1.0
  %22 = fcmp ule double %5, 1.0
  %23 = fcmp une double %5, 1.0
  %24 = fcmp nnan true double %5, 1.0
  %25 = select fast i1 %24, double %5, double 2.0
  %26 = select <3 x i1> %15, <3 x float> %8, <3 x float> %v
  %27 = select i1 %24, <3 x float> %26, <3 x float> zeroinitializer
  %28 = select nnan i1 undef, float %3, float %4
  %29 = call fast double @float_result(double %25)
  %30 = call nnan nsz { double, double } @two_floats()
  %31 = call reassoc <4 x float> @vector_result(<4 x float> <float 1.0, float 2.0, float 3.0, float 4.0>)
  %32 = fpext nnan float %28 to double
  %33 = fptrunc fast double %32 to float
  ret double %29
}

define void @conversions(i64 %i, float %f, ptr %p, ptr addrspace(1) %q, <2 x i32> %v, <2 x ptr> %w, <1 x ptr> %one) {
  %1 = trunc i64 %i to i1
  %2 = trunc nuw i64 %i to i8
  %3 = trunc nsw i64 %i to i8
  %4 = trunc nuw nsw i64 %i to i33
  %5 = zext i33 %4 to i64
  %6 = zext nneg i33 %4 to i64
  %7 = sext i33 %4 to i128
  %8 = fptoui float %f to i17
  %9 = fptosi float %f to i128
  %10 = uitofp i17 %8 to half
  %11 = uitofp nneg i17 %8 to bfloat
  %12 = sitofp i128 %9 to x86_fp80
  %13 = fptrunc x86_fp80 %12 to float
  %14 = fpext half %10 to fp128
  %15 = ptrtoint ptr %p to i64
  %16 = ptrtoaddr ptr %p to i64
  %17 = inttoptr i64 %15 to ptr
  %18 = bitcast i64 %16 to double
  %19 = bitcast <2 x i32> %v to i64
  %20 = bitcast <2 x i32> %v to <8 x i8>
  %21 = addrspacecast ptr addrspace(1) %q to ptr
  %22 = ptrtoint <2 x ptr> %w to <2 x i32>
  %23 = inttoptr <2 x i32> %22 to <2 x ptr>
  %24 = zext nneg <2 x i32> %v to <2 x i64>
  %25 = bitcast <1 x ptr> %one to ptr
  %26 = bitcast i32 1 to <1 x float>
  ret void
}

define ptr @addresses(ptr %p, i64 %i, i1 %bit, i128 %wide, <4 x ptr> %v, <4 x i64> %w, <4 x i8> %n) {
  %1 = getelementptr i8, ptr %p, i64 -1
  %2 = getelementptr inbounds %pair, ptr %1, i64 %i, i32 1, i64 2, i32 1
  %3 = getelementptr nusw i32, ptr %2, i1 %bit
  %4 = getelementptr nuw i32, ptr %3, i128 %wide
  %5 = getelementptr inbounds nuw [4 x i32], ptr @table, i32 0, i64 %i
  %6 = getelementptr nusw nuw i24, ptr %5, i8 3
  %7 = getelementptr i32, <4 x ptr> %v, i64 1
  %8 = getelementptr i32, ptr %p, <4 x i64> %w
  %9 = getelementptr inbounds i32, <4 x ptr> %v, <4 x i8> %n
  %10 = getelementptr %pair, ptr %p, <4 x i64> %w, <4 x i32> splat (i32 1), <4 x i64> %w
  %11 = getelementptr %pair, ptr %p, <4 x i64> %w, <4 x i32> zeroinitializer
  %12 = getelementptr <4 x i32>, ptr %p, i64 0, i64 2
  %13 = getelementptr i32, ptr %p
  %14 = getelementptr { i32, i32 }, ptr getelementptr (i8, ptr @global, i64 4), i64 0, i32 1
  ret ptr %14
}

define i32 @memory(ptr %p, ptr addrspace(1) %q, i200 %n) personality ptr @personality {
  %1 = alloca i32
  %2 = alloca [7 x i8], align 32
  %3 = alloca %pair, i200 %n, align 1
  %4 = alloca i64, i8 -56, align 1024
  %5 = alloca swifterror ptr
  %6 = alloca inalloca i32
  %7 = alloca i33, i64 4294967296, align 4294967296
  %8 = load i32, ptr %p
  %9 = load volatile i1, ptr %p, align 16
  %10 = load { i32, [2 x <2 x half>] }, ptr addrspace(1) %q, align 1
  %11 = load atomic i32, ptr %p unordered, align 4
  %12 = load atomic volatile i64, ptr %p syncscope("singlethread") monotonic, align 8
  %13 = load atomic ptr, ptr %p acquire, align 8
  %14 = load atomic float, ptr %p seq_cst, align 4
  store i32 %8, ptr %1
  store volatile { i32, [2 x <2 x half>] } %10, ptr %p, align 2
  store atomic i32 %11, ptr %p unordered, align 4
  store atomic volatile i64 %12, ptr %p syncscope("agent") release, align 8
  store atomic ptr %13, ptr %p seq_cst, align 8
  store atomic float %14, ptr addrspace(1) %q monotonic, align 4
  fence acquire
  fence release
  fence acq_rel
  fence syncscope("singlethread") seq_cst
  fence syncscope("agent") seq_cst
  %15 = cmpxchg ptr %p, i32 0, i32 1 monotonic monotonic
  %16 = cmpxchg weak volatile ptr %p, i64 0, i64 1 syncscope("singlethread") acq_rel acquire, align 16
  %17 = cmpxchg ptr %p, ptr null, ptr %p seq_cst seq_cst
  %18 = cmpxchg weak ptr %p, i8 0, i8 1 release monotonic
  %19 = atomicrmw xchg ptr %p, ptr %13 seq_cst
  %20 = atomicrmw add ptr %p, i32 1 monotonic
  %21 = atomicrmw sub ptr %p, i32 1 acquire
  %22 = atomicrmw and ptr %p, i32 1 release
  %23 = atomicrmw nand ptr %p, i32 1 acq_rel
  %24 = atomicrmw volatile or ptr %p, i32 1 seq_cst
  %25 = atomicrmw xor ptr %p, i32 1 syncscope("singlethread") seq_cst
  %26 = atomicrmw max ptr %p, i32 1 seq_cst
  %27 = atomicrmw min ptr %p, i32 1 seq_cst
  %28 = atomicrmw umax ptr %p, i32 1 seq_cst
  %29 = atomicrmw umin ptr %p, i32 1 seq_cst
  %30 = atomicrmw fadd ptr %p, float 1.0 seq_cst
  %31 = atomicrmw fsub ptr %p, double 1.0 seq_cst
  %32 = atomicrmw fmax ptr %p, <2 x half> zeroinitializer seq_cst
  %33 = atomicrmw fmin ptr %p, float 1.0 seq_cst
  %34 = atomicrmw fmaximum ptr %p, float 1.0 seq_cst
  %35 = atomicrmw fminimum ptr %p, float 1.0 seq_cst
  %36 = atomicrmw uinc_wrap ptr %p, i32 1 seq_cst
  %37 = atomicrmw udec_wrap ptr %p, i32 1 seq_cst
  %38 = atomicrmw usub_cond ptr %p, i32 1 seq_cst
  %39 = atomicrmw usub_sat ptr %p, i32 1 seq_cst
  %40 = atomicrmw xchg ptr %p, float 1.0 seq_cst, align 64
  %41 = va_arg ptr %p, i128
  %42 = va_arg ptr %p, %pair
  ret i32 %8
}

define <2 x i8> @vectors(<4 x i8> %a, <4 x i8> %b, i8 %c, i64 %i, <vscale x 4 x i8> %s) {
  %1 = extractelement <4 x i8> %a, i32 1
  %2 = extractelement <4 x i8> %a, i64 %i
  %3 = insertelement <4 x i8> %b, i8 %c, i8 2
  %4 = insertelement <4 x i8> poison, i8 7, i64 %i
  %5 = shufflevector <4 x i8> %a, <4 x i8> %b, <4 x i32> <i32 0, i32 7, i32 3, i32 4>
  %6 = shufflevector <4 x i8> %5, <4 x i8> poison, <2 x i32> <i32 1, i32 poison>
  %7 = shufflevector <4 x i8> %5, <4 x i8> poison, <2 x i32> zeroinitializer
  %8 = shufflevector <4 x i8> %5, <4 x i8> undef, <8 x i32> poison
  %9 = shufflevector <vscale x 4 x i8> %s, <vscale x 4 x i8> poison, <vscale x 4 x i32> zeroinitializer
  %10 = freeze <2 x i8> %6
  %11 = freeze <2 x i8> poison
  ret <2 x i8> %11
}

define { i32, i8 } @aggregates(%pair %p, { i32, i8 } %q) {
  %1 = extractvalue %pair %p, 0
  %2 = extractvalue %pair %p, 1, 2, 1
  %3 = insertvalue %pair %p, i32 9, 0
  %4 = insertvalue %pair %3, ptr %2, 1, 0, 1
  %5 = insertvalue { i32, i8 } poison, i32 %1, 0
  %6 = insertvalue { i32, i8 } %5, i8 3, 1
  %7 = insertvalue [2 x [2 x i8]] [[2 x i8] c"ab", [2 x i8] zeroinitializer], [2 x i8] c"xy", 1
  %8 = extractvalue { i32, i8 } { i32 5, i8 6 }, 1
  ret { i32, i8 } %6
}

define i32 @flow(i32 %n, i100 %w, ptr %p) {
entry:
  br label %later

; Blocks out of order: operands are used before they are defined, here with their types.
early:
  %double_next = fmul nnan double %next_float, 2.0
  %p2 = getelementptr i8, ptr %next_pointer, i32 %next
  store i32 %next, ptr %next_pointer
  %compared = icmp slt i32 %next, %next
  %chosen = select i1 %next_bit, i32 %next, i32 %n
  br i1 %next_bit, label %switch, label %later

later:
  %phi = phi i32 [ 0, %entry ], [ %chosen, %early ], [ -2147483648, %switch ]
  %float_phi = phi fast double [ 1.0, %entry ], [ %double_next, %early ], [ %next_float, %switch ]
  %next = add i32 %phi, 1
  %next_bit = icmp ne i32 %next, %n
  %next_float = fadd double %float_phi, 1.0
  %next_pointer = getelementptr i8, ptr %p, i32 %next
  br i1 %next_bit, label %early, label %switch

switch:
  switch i100 %w, label %end [
    i100 0, label %later
    i100 -1, label %large
    i100 633825300114114700748351602688, label %large
  ]

large:
  %again = phi i32 [ %next, %switch ], [ %next, %switch ]
  switch i32 %again, label %end [ ]

end:
  %result = phi i32 [ %next, %switch ], [ %again, %large ], [ ptrtoint (ptr @global to i32), %jump ]
  ret i32 %result

jump:
  indirectbr ptr blockaddress(@flow, %end), [label %end, label %dead, label %dead]

dead:
  %self = add i32 %self, 1
  indirectbr ptr %p, []

unreached:
  unreachable
}

define void @calls(ptr %p, i8 %b, i128 %w) prefix i32 5 {
  %1 = alloca %pair
  call void (i32, ...) @takes(i32 1, i128 %w, double 1.0, { i32, i8 } zeroinitializer, ptr @calls)
  call void (i32, ...) @takes(i32 noundef 1)
  %2 = tail call ptr @callee(ptr noalias align 8 %1, i8 zeroext %b, ptr byval(%pair) %p) nounwind
  %3 = notail call fastcc i7 @fast_convention(i7 signext 3)
  %4 = call ptr %2(ptr %p) #0
  call coldcc void %2()
  call void @takes_metadata(metadata !0, i8 %b)
  call void @takes_metadata(metadata ptr %p, i8 %b)
  call void asm sideeffect "nop", "~{memory}"()
  %5 = call i64 asm inteldialect "mov $0, $1", "=r,r"(ptr %p)
  %6 = call token @make_token()
  call void @takes(i32 0) [ "deopt"(i32 5, ptr %p, i128 %w), "gc-transition"() ]
  call void @takes(i32 0) [ "align"(token %6, double 1.5), "kcfi"() ]
  call void %4(i8 %b)
  %7 = musttail call ptr @callee(ptr noalias align 8 %1, i8 zeroext %b, ptr byval(%pair) %p)
  ret void
}

define i32 @exceptions(i32 %n) personality ptr @personality {
  %1 = invoke double @float_result(double 1.0) to label %normal unwind label %pad
normal:
  invoke void (i32, ...) @takes(i32 1, double %1) [ "deopt"(double %1) ] to label %normal2 unwind label %pad
normal2:
  %2 = invoke fastcc i7 @fast_convention(i7 1) nounwind to label %done unwind label %pad2
pad:
  %3 = landingpad { ptr, i32 } cleanup catch ptr @type_info catch ptr null filter [2 x ptr] [ptr @type_info, ptr null]
  resume { ptr, i32 } %3
pad2:
  %4 = landingpad { ptr, i32 } filter [0 x ptr] zeroinitializer
  %5 = extractvalue { ptr, i32 } %4, 1
  br label %done
done:
  %6 = phi i32 [ %5, %pad2 ], [ 0, %normal2 ]
  ret i32 %6
}

define i32 @jumping_assembly(i32 %n) {
  %1 = callbr i32 asm sideeffect "jmp ${2:l}", "=r,r,!i,!i"(i32 %n) to label %direct [label %first, label %second]
direct:
  ret i32 %1
first:
  callbr void asm "", "!i"() to label %direct [label %second]
second:
  ret i32 2
}

define void @funclets() personality ptr @personality {
  invoke void @takes(i32 0) to label %done unwind label %dispatch
dispatch:
  %switch = catchswitch within none [label %handler, label %other] unwind label %cleanup
handler:
  %pad = catchpad within %switch [ptr null, i32 64, ptr @global]
  invoke void @takes(i32 1) [ "funclet"(token %pad) ] to label %leave unwind label %cleanup
leave:
  catchret from %pad to label %done
other:
  %inner = catchpad within %switch []
  catchret from %inner to label %done
cleanup:
  %clean = cleanuppad within none []
  %nested = catchswitch within %clean [label %in] unwind to caller
in:
  %caught = catchpad within %nested [i32 1]
  cleanupret from %clean unwind to caller
more:
  %clean2 = cleanuppad within %caught [i8 1]
  cleanupret from %clean2 unwind label %cleanup
done:
  ret void
}

; Constants that only a body has, nested and named among each other.
define ptr @expressions(i64 %i) {
  %1 = getelementptr i8, ptr getelementptr inbounds (%pair, ptr @table, i64 0, i32 1, i64 1), i64 %i
  store [2 x ptr] [ptr getelementptr (i8, ptr @global, i64 12345), ptr inttoptr (i64 12345 to ptr)], ptr %1
  store { i128, <2 x i64>, [3 x i8], x86_fp80 } { i128 -3, <2 x i64> <i64 4, i64 5>, [3 x i8] c"xyz", x86_fp80 0xK4000C000000000000000 }, ptr %1
  store i64 sub (i64 ptrtoint (ptr @global to i64), i64 ptrtoint (ptr @table to i64)), ptr %1
  store i32 trunc (i64 xor (i64 ptrtoint (ptr @table to i64), i64 -1) to i32), ptr %1
  store ptr blockaddress(@flow, %end), ptr %1
  store ptr dso_local_equivalent @expressions, ptr %1
  store ptr no_cfi @expressions, ptr %1
  store <4 x ptr> <ptr null, ptr @global, ptr poison, ptr undef>, ptr %1
  store <8 x i1> <i1 1, i1 0, i1 0, i1 1, i1 1, i1 1, i1 0, i1 1>, ptr %1
  store i1 true, ptr %1
  ret ptr %1
}

attributes #0 = { nounwind memory(none) "key"="value" }
!0 = !{i32 1}
