; No data layout: LLVM's defaults.
@struct = global { i8, i16, i1, double, ptr, fp128, i128, <4 x i32>, half, <2 x i64>, <3 x float> } zeroinitializer
@fp80 = global x86_fp80 0xK00000000000000000000
@ppc = global ppc_fp128 0xM00000000000000000000000000000000
@i24 = global i24 1
@odd = global { i24, i33, i65 } { i24 -1, i33 -1, i65 -1 }
@v2048 = global <64 x i32> zeroinitializer
@bits = global <129 x i1> zeroinitializer
