; A data layout that differs from every default, on no real target.
target datalayout = "E-m:o-p:32:64:128:16-p1:64:32-p2:24:32-p3:16:16:16:8-i1:8:16-i8:8:32-i16:32-i32:32:64-i64:32:64-i128:64-f16:32-f32:64-f64:32:64-f80:32-f128:64-v32:64-v64:32:64-v128:64:256-v256:128-a:16:128-n8:32-S64-A5-G1-P2"

@i1 = addrspace(1) global i1 0
@i3 = addrspace(1) global i3 0
@i8 = addrspace(1) global i8 0
@i9 = addrspace(1) global i9 0
@i16 = addrspace(1) global i16 1
@i17 = addrspace(1) global i17 1
@i24 = addrspace(1) global i24 1
@i32 = addrspace(1) global i32 1
@i64 = addrspace(1) global i64 1
@i100 = addrspace(1) global i100 1
@i128 = addrspace(1) global i128 1
@i256 = addrspace(1) global i256 1
@half = addrspace(1) global half 0.0
@float = addrspace(1) global float 0.0
@double = addrspace(1) global double 0.0
@fp80 = addrspace(1) global x86_fp80 0xK00000000000000000000
@fp128 = addrspace(1) global fp128 0xL00000000000000000000000000000000
@p0 = addrspace(1) global ptr null
@p1 = addrspace(1) global ptr addrspace(1) null
@p2 = addrspace(1) global ptr addrspace(2) null
@p3 = addrspace(1) global ptr addrspace(3) null
@p9 = addrspace(1) global ptr addrspace(9) null
@v1i8 = addrspace(1) global <1 x i8> zeroinitializer
@v3i8 = addrspace(1) global <3 x i8> zeroinitializer
@v4i8 = addrspace(1) global <4 x i8> zeroinitializer
@v9i1 = addrspace(1) global <9 x i1> zeroinitializer
@v2i32 = addrspace(1) global <2 x i32> zeroinitializer
@v4i32 = addrspace(1) global <4 x i32> zeroinitializer
@v8i32 = addrspace(1) global <8 x i32> zeroinitializer
@v3i64 = addrspace(1) global <3 x i64> zeroinitializer
@v2p1 = addrspace(1) global <2 x ptr addrspace(1)> zeroinitializer
@v16i32 = addrspace(1) global <16 x i32> zeroinitializer
@arrays = addrspace(1) global [3 x [2 x i24]] zeroinitializer
@array_of_vectors = addrspace(1) global [3 x <3 x i8>] zeroinitializer
@struct = addrspace(1) global { i8, i16, i1, double, ptr, fp128, i128, <4 x i32> } zeroinitializer
@packed = addrspace(1) global <{ i8, i16, i1, double, ptr, fp128, i128 }> zeroinitializer
@nested = addrspace(1) global { i8, <{ i8, { i16, i8 } }>, {}, [0 x double], i8 } zeroinitializer
@empty = addrspace(1) global {} zeroinitializer

define void @f() addrspace(2) { ret void }
