; Every kind of constant that an initialiser can hold.
target datalayout = "e-m:e-p270:32:32-p271:32:32-p272:64:64-i64:64-i128:128-f80:128-n8:16:32:64-S128"
target triple = "x86_64-unknown-linux-gnu"

%named = type { i32, ptr, [2 x i16] }
%packed = type <{ i8, i32, i8 }>
%nested = type { %named, <{ i1, %packed }>, [0 x i64] }
%opaque = type opaque
%empty = type {}

@i1 = global i1 true
@i5 = global i5 -3
@i7 = global i7 64
@i8 = global i8 -1
@i24 = global i24 -2
@i32_min = global i32 -2147483648
@i33 = global i33 4294967296
@i63 = global i63 -1
@i64_min = global i64 -9223372036854775808
@i64_max = global i64 -1
@i65 = global i65 -1
@i65_one = global i65 1
@i100 = global i100 -633825300114114700748351602688
@i128 = global i128 170141183460469231731687303715884105727
@i128_low = global i128 5
@i129 = global i129 340282366920938463463374607431768211455
@i192 = global i192 -1
@i256 = global i256 18446744073709551616
@i1000 = global i1000 1
@i8_zero = global i8 0

@half = global half 0xH3C00
@half_nan = global half 0xH7E01
@bfloat = global bfloat 0xR3F80
@float = global float 1.5
@float_snan = global float 0x7FF4000000000000
@double = global double 3.14
@double_minus_zero = global double -0.0
@double_zero = global double 0.0
@fp80 = global x86_fp80 0xK4000C8F5C28F5C28F800
@fp80_small = global x86_fp80 0xK00000000000000000001
@fp128 = global fp128 0xLF0123456789ABCDE4001A23456789ABC
@ppc = global ppc_fp128 0xM400C000000000000BCB0000000000000

@null = global ptr null
@undef = global i32 undef
@poison = global [2 x i32] poison
@zero = global %nested zeroinitializer
@zero_vector = global <3 x i32> zeroinitializer
@opaque_pointer = external global %opaque
@empty = global %empty zeroinitializer
@empty_array = global [0 x i32] zeroinitializer
@empty_string = global [0 x i8] zeroinitializer
@huge_zero = global [4294967296 x i64] zeroinitializer

@text = constant [6 x i8] c"hello\00"
@text6 = constant [5 x i8] c"a_.9\00"
@text8 = constant [4 x i8] c"\FF\80z\00"
@text_open = constant [4 x i8] c"open"
@text_long = constant [60 x i8] c"a longer text, of which the characters fill several words \0A\00"
@data16 = constant [3 x i16] [i16 1, i16 -1, i16 256]
@data32 = constant [2 x i32] [i32 1, i32 -2]
@data64 = constant [2 x i64] [i64 1, i64 -2]
@data_half = constant [2 x half] [half 0xH3C00, half 0xH0000]
@data_bfloat = constant [2 x bfloat] [bfloat 0xR3F80, bfloat 0xR0000]
@data_float = constant [3 x float] [float 1.0, float 2.0, float -0.0]
@data_double = constant [2 x double] [double 1.0, double 2.0]
@vector = global <4 x i32> <i32 1, i32 2, i32 3, i32 4>
@vector_odd = global <3 x i24> <i24 1, i24 undef, i24 -3>
@vector_bits = global <9 x i1> <i1 1, i1 0, i1 1, i1 0, i1 1, i1 0, i1 1, i1 0, i1 1>
@vector_splat = global <8 x i16> splat (i16 7)
@vector_pointers = global <2 x ptr> <ptr @i8, ptr null>
@vector_fp80 = global <2 x x86_fp80> <x86_fp80 0xK4000C8F5C28F5C28F800, x86_fp80 0xK00000000000000000000>
@array_bits = global [3 x i1] [i1 1, i1 0, i1 1]
@array_odd = global [2 x i128] [i128 1, i128 -1]
@array_undef = global [3 x i8] [i8 1, i8 undef, i8 3]
@struct = global %named { i32 1, ptr @struct, [2 x i16] [i16 3, i16 4] }
@struct_packed = global %packed <{ i8 1, i32 2, i8 3 }>
@struct_nested = global %nested { %named { i32 1, ptr null, [2 x i16] zeroinitializer }, <{ i1, %packed }> <{ i1 true, %packed <{ i8 1, i32 2, i8 3 }> }>, [0 x i64] zeroinitializer }
@struct_literal = global { i8, { i16, ptr }, [2 x { i8, i32 }] } { i8 1, { i16, ptr } { i16 2, ptr @text }, [2 x { i8, i32 }] [{ i8, i32 } { i8 1, i32 2 }, { i8, i32 } undef] }
@struct_padded = global { i8, double, i1, x86_fp80, i128 } { i8 1, double 2.0, i1 true, x86_fp80 0xK4000C8F5C28F5C28F800, i128 -1 }

@gep = global ptr getelementptr (i8, ptr @text, i64 3)
@gep_inbounds = global ptr getelementptr inbounds (%nested, ptr @struct_nested, i64 0, i32 1, i32 1, i32 2)
@gep_nusw = global ptr getelementptr nusw (i32, ptr @data32, i64 -1)
@gep_nuw = global ptr getelementptr nuw (i32, ptr @data32, i64 1)
@gep_nusw_nuw = global ptr getelementptr nusw nuw (i32, ptr @data32, i64 1)
@gep_inrange = global ptr getelementptr inbounds inrange(-8, 16) ({ [3 x ptr], [2 x ptr] }, ptr @vtable, i32 0, i32 0, i32 2)
@gep_inrange_wide = global ptr getelementptr inrange(0, 4) (i8, ptr @text, i128 2)
@gep_negative = global ptr getelementptr (i8, ptr @text, i32 -5)
@gep_vector = global <2 x ptr> getelementptr (i32, ptr @data32, <2 x i64> <i64 0, i64 1>)
@gep_space = global ptr addrspace(3) getelementptr (i16, ptr addrspace(3) @in_space3, i16 1)
@vtable = constant { [3 x ptr], [2 x ptr] } { [3 x ptr] [ptr null, ptr @f, ptr @f], [2 x ptr] zeroinitializer }
@in_space3 = addrspace(3) global [4 x i16] zeroinitializer

@ptrtoint = global i64 ptrtoint (ptr @text to i64)
@ptrtoint32 = global i32 ptrtoint (ptr @text to i32)
@ptrtoint128 = global i128 ptrtoint (ptr @text to i128)
@ptrtoaddr = global i64 ptrtoaddr (ptr @text to i64)
@inttoptr = global ptr inttoptr (i64 1234 to ptr)
@inttoptr_add = global ptr inttoptr (i64 add (i64 ptrtoint (ptr @text to i64), i64 7) to ptr)
@addrspacecast = global ptr addrspacecast (ptr addrspace(3) @in_space3 to ptr)
@bitcast = global i64 bitcast (<2 x i32> <i32 ptrtoint (ptr @text to i32), i32 1> to i64)
@trunc = global i32 trunc (i64 sub (i64 ptrtoint (ptr @f to i64), i64 ptrtoint (ptr @relative to i64)) to i32)
@relative = global [2 x i32] [i32 trunc (i64 sub (i64 ptrtoint (ptr @f to i64), i64 ptrtoint (ptr @relative to i64)) to i32), i32 trunc (i64 sub (i64 ptrtoint (ptr dso_local_equivalent @f to i64), i64 ptrtoint (ptr getelementptr ([2 x i32], ptr @relative, i32 0, i32 1) to i64)) to i32)]
@add = global i64 add (i64 ptrtoint (ptr @text to i64), i64 5)
@add_nuw = global i64 add nuw (i64 ptrtoint (ptr @text to i64), i64 5)
@add_nsw = global i64 add nsw (i64 ptrtoint (ptr @text to i64), i64 5)
@add_both = global i64 add nuw nsw (i64 ptrtoint (ptr @text to i64), i64 5)
@sub = global i64 sub (i64 ptrtoint (ptr @text to i64), i64 ptrtoint (ptr @f to i64))
@xor = global i64 xor (i64 ptrtoint (ptr @text to i64), i64 -1)

@extract = global i32 extractelement (<2 x i32> bitcast (<1 x i64> <i64 ptrtoint (ptr @text to i64)> to <2 x i32>), i32 1)
@insert = global <2 x i64> insertelement (<2 x i64> bitcast (<1 x i128> <i128 ptrtoint (ptr @text to i128)> to <2 x i64>), i64 1, i32 0)
@shuffle = global <2 x i32> shufflevector (<2 x i32> bitcast (<1 x i64> <i64 ptrtoint (ptr @text to i64)> to <2 x i32>), <2 x i32> zeroinitializer, <2 x i32> <i32 1, i32 poison>)

@labels = internal constant [2 x ptr] [ptr blockaddress(@jumps, %first), ptr blockaddress(@jumps, %second)]
@label_difference = internal constant i32 trunc (i64 sub (i64 ptrtoint (ptr blockaddress(@jumps, %second) to i64), i64 ptrtoint (ptr blockaddress(@jumps, %first) to i64)) to i32)
@label_deep = internal global { i8, [1 x { ptr }] } { i8 1, [1 x { ptr }] [{ ptr } { ptr getelementptr (i8, ptr blockaddress(@jumps, %first), i64 0) }] }
@labels_of_two = internal constant [2 x ptr] [ptr blockaddress(@jumps, %first), ptr blockaddress(@jumps2, %only)]
@not_labels = internal constant ptr @labels
@equivalent = global ptr dso_local_equivalent @f
@no_cfi = global ptr no_cfi @f
@ptrauth = global ptr ptrauth (ptr @f, i32 0)
@ptrauth_all = global ptr ptrauth (ptr @f, i32 2, i64 1234, ptr @ptrauth_all)

@target_zero = global target("spirv.DeviceEvent") zeroinitializer
@target_integers = external global target("spirv.Image", float, 1, 0, 0, 0, 0, 0, 0)
@scalable_pointer = external global ptr

declare void @f()
declare void @scalable(<vscale x 4 x i32>, <vscale x 2 x i1>, target("aarch64.svcount"))
declare void @llvm.donothing()
declare i1 @llvm.type.test(ptr, metadata)
declare token @llvm.experimental.convergence.anchor()
declare x86_amx @llvm.x86.tilezero.internal(i16, i16)

define void @jumps(i32 %x) {
  switch i32 %x, label %first [ i32 1, label %second ]
first:
  %a = load ptr, ptr @labels
  indirectbr ptr %a, [label %first, label %second]
second:
  ret void
}

define void @jumps2() {
  br label %only
only:
  indirectbr ptr null, [label %only]
}

define i32 @asm(i32 %x) {
  %y = call i32 asm sideeffect "nop $0 $1", "=r,r"(i32 %x)
  call void asm sideeffect inteldialect unwind "", "~{memory}"()
  ret i32 %y
}
