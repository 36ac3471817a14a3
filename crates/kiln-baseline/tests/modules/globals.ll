; Initialisers of every form that an object file can express. No global is private: the judge finds them by name.
target datalayout = "e-m:e-p270:32:32-p271:32:32-p272:64:64-i64:64-i128:128-f80:128-n8:16:32:64-S128"
target triple = "x86_64-unknown-linux-gnu"

%named = type { i32, ptr, [2 x i16] }
%packed = type <{ i8, i32, i8 }>

$group = comdat any
$big_group = comdat nodeduplicate

@i1 = global i1 true
@i5 = global i5 -3
@i8 = global i8 -1
@i24 = global i24 -2
@i33 = global i33 -1
@i64 = global i64 -9223372036854775808
@i65 = global i65 -1
@i100 = global i100 -633825300114114700748351602688
@i128 = global i128 170141183460469231731687303715884105727
@i192 = global i192 -2
@i256 = global i256 18446744073709551616
@after_odd = global { i24, i8, i33, i1 } { i24 -1, i8 2, i33 -1, i1 true }

@half = global half 0xH3C01
@bfloat = global bfloat 0xR3F81
@float = global float 1.5
@double = global double 3.14
@minus_zero = global double -0.0
@fp80 = global x86_fp80 0xK4000C8F5C28F5C28F801
@fp128 = global fp128 0xLF0123456789ABCDE4001A23456789ABC
@fp80_array = global [3 x x86_fp80] [x86_fp80 0xK4000C8F5C28F5C28F801, x86_fp80 0xK00000000000000000000, x86_fp80 0xK3FFF8000000000000000]
@complex80 = global { x86_fp80, i8 } { x86_fp80 0xK4000C8F5C28F5C28F801, i8 7 }

@null = global ptr null
@undef = global i32 undef
@poison = constant [2 x i32] poison
@partly_undef = global { i32, i32, [2 x i8] } { i32 1, i32 undef, [2 x i8] poison }
@zero = global [1000 x %named] zeroinitializer
@zero_constant = constant [10 x i32] zeroinitializer
@zero_one = global { [100000 x i8], i8 } { [100000 x i8] zeroinitializer, i8 1 }
@empty = global {} zeroinitializer
@empty_array = constant [0 x i32] zeroinitializer

@text = constant [6 x i8] c"hello\00"
@data16 = constant [3 x i16] [i16 1, i16 -1, i16 256]
@data_float = constant [3 x float] [float 1.0, float 2.0, float -0.0]
@vector = global <4 x i32> <i32 1, i32 2, i32 3, i32 4>
@vector3 = global <3 x i32> <i32 1, i32 2, i32 3>
@vector_i24 = global <3 x i24> <i24 1, i24 undef, i24 -3>
@vector_bits = global <9 x i1> <i1 1, i1 0, i1 1, i1 0, i1 1, i1 0, i1 1, i1 0, i1 1>
@vector_nibbles = global <3 x i4> <i4 1, i4 2, i4 15>
@vector_pointers = global <2 x ptr> <ptr @i8, ptr null>
@vector_array = global [2 x <3 x i8>] [<3 x i8> <i8 1, i8 2, i8 3>, <3 x i8> <i8 4, i8 5, i8 6>]
@array_bits = global [3 x i1] [i1 1, i1 0, i1 1]
@array_wide = global [2 x i128] [i128 1, i128 -1]
@struct = global %named { i32 1, ptr @struct, [2 x i16] [i16 3, i16 4] }
@struct_packed = global %packed <{ i8 1, i32 2, i8 3 }>
@struct_nested = global { i8, { i16, ptr }, [2 x { i8, i32 }], <{ i8, ptr, i8 }> } { i8 1, { i16, ptr } { i16 2, ptr @text }, [2 x { i8, i32 }] [{ i8, i32 } { i8 1, i32 2 }, { i8, i32 } undef], <{ i8, ptr, i8 }> <{ i8 1, ptr @data16, i8 2 }> }

@pointer = global ptr @text
@pointer_constant = constant ptr @text
@pointer_declared = global ptr @elsewhere
@pointer_weak = global ptr @maybe
@pointer_function = global ptr @function
@pointer_internal_function = global ptr @internal_function
@pointer_declared_function = global ptr @declared_function
@pointer_alias = global ptr @alias_middle
@pointer_function_alias = global ptr @function_alias
@gep = global ptr getelementptr (i8, ptr @text, i64 3)
@gep_deep = global ptr getelementptr inbounds ({ i8, { i16, ptr }, [2 x { i8, i32 }], <{ i8, ptr, i8 }> }, ptr @struct_nested, i64 0, i32 2, i64 1, i32 1)
@gep_packed = global ptr getelementptr ({ i8, { i16, ptr }, [2 x { i8, i32 }], <{ i8, ptr, i8 }> }, ptr @struct_nested, i64 0, i32 3, i32 1)
@gep_before = global ptr getelementptr (i8, ptr @text, i32 -5)
@gep_small_index = global ptr getelementptr (i64, ptr @zero, i8 -1)
@gep_beyond = global ptr getelementptr (%named, ptr @zero, i64 1000)
@gep_twice = global ptr getelementptr (i8, ptr getelementptr ([3 x i16], ptr @data16, i64 1), i64 -2)
@integer = global i64 ptrtoint (ptr @text to i64)
@integer_add = global i64 add (i64 ptrtoint (ptr @text to i64), i64 5)
@integer_sub = global i64 sub (i64 ptrtoint (ptr @text to i64), i64 5)
@integer32 = global i32 ptrtoint (ptr @text to i32)
@address = global ptr inttoptr (i64 1234 to ptr)
@address_add = global ptr inttoptr (i64 add (i64 ptrtoint (ptr @data16 to i64), i64 7) to ptr)
@other_space = global ptr addrspace(1) addrspacecast (ptr @text to ptr addrspace(1))
@no_cfi = global ptr no_cfi @function

@relative = constant { i32, i32, i64, i32 } {
  i32 trunc (i64 sub (i64 ptrtoint (ptr @function to i64), i64 ptrtoint (ptr @relative to i64)) to i32),
  i32 trunc (i64 sub (i64 ptrtoint (ptr @text to i64), i64 ptrtoint (ptr getelementptr ({ i32, i32, i64, i32 }, ptr @relative, i32 0, i32 1) to i64)) to i32),
  i64 sub (i64 ptrtoint (ptr @struct to i64), i64 ptrtoint (ptr @relative to i64)),
  i32 trunc (i64 sub (i64 ptrtoint (ptr dso_local_equivalent @declared_function to i64), i64 ptrtoint (ptr @relative to i64)) to i32) }
@itself = global i64 sub (i64 ptrtoint (ptr getelementptr (i8, ptr @itself, i64 24) to i64), i64 ptrtoint (ptr @itself to i64))

@tls = thread_local global i32 12
@tls_zero = thread_local global [64 x i8] zeroinitializer, align 64
@tls_address = thread_local global { i8, ptr } { i8 1, ptr @text }
@tls_internal = internal thread_local(localexec) global i16 3

@internal = internal global i32 1
@internal_constant = internal unnamed_addr constant [4 x i8] c"abc\00"
@keeps_internal = global [2 x ptr] [ptr @internal, ptr getelementptr (i8, ptr @internal_constant, i64 1)]
@weak = weak global i32 2
@linkonce_odr = linkonce_odr constant i32 5
@common = common global [3 x i32] zeroinitializer, align 16
@hidden = hidden global i32 9
@protected = protected global i32 10
@grouped = linkonce_odr global i32 19, comdat($group)
@grouped_too = linkonce_odr global i32 20, comdat($big_group)
@externally = externally_initialized global i32 16

@sectioned = global i32 17, section "my_section", align 4
@sectioned_zero = global i32 0, section "my_section", align 4
@sectioned_constant = constant i32 18, section "my_constants"
@sectioned_pointer = constant ptr @text, section "my_pointers"
@sectioned_wide = global i8 18, section "my_wide", align 64
@aligned = global i8 1, align 4096
@aligned_less = global i64 1, align 1
@aligned_big_default = global [100 x i8] zeroinitializer
@aligned_big_constant = constant [17 x i8] c"0123456789abcdefg"
@aligned_vector = global <8 x i32> <i32 1, i32 2, i32 3, i32 4, i32 5, i32 6, i32 7, i32 8>
@aligned_struct = global { i8, i16 } { i8 1, i16 2 }
@aligned_packed = global <{ i8, i16 }> <{ i8 1, i16 2 }>

@elsewhere = external global i32
@maybe = extern_weak global i32
@copy = available_externally global i32 6
@uses_copy = global ptr @copy

@alias_middle = alias i16, getelementptr ([3 x i16], ptr @data16, i64 0, i64 1)
@alias_hidden = hidden alias i8, ptr @text
@alias_of_alias = alias i8, getelementptr (i8, ptr @alias_middle, i64 1)
@function_alias = alias void (), ptr @function
@tls_alias = thread_local alias i32, ptr @tls

define dso_local void @function() { ret void }
define internal void @internal_function() { ret void }
declare void @declared_function()
