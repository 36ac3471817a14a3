//! How much register state the trampoline saves.
//!
//! Intel SDM vol. 1 chapter 13; AMD APM vol. 2 §11.5.

use std::sync::atomic::AtomicU64;

/// State components (bits of XCR0) that hold something a function can be handed, or that the resolver could disturb.
///
/// Left out: MPX bounds (2), whose use ended before this code began; PKRU (9), which the resolver does not change and
/// which would have to be restored last; supervisor components, which XSAVE does not see; AMX tiles (17, 18), 8 KiB
/// that no ABI passes arguments in and that the resolver does not use.
const COMPONENTS: u64 = X87 | SSE | AVX | OPMASK | ZMM_HI256 | HI16_ZMM | APX;
const X87: u64 = 1 << 0;
const SSE: u64 = 1 << 1;
const AVX: u64 = 1 << 2;
const OPMASK: u64 = 1 << 5;
const ZMM_HI256: u64 = 1 << 6;
const HI16_ZMM: u64 = 1 << 7;
/// r16 to r31.
const APX: u64 = 1 << 19;

/// Bytes of the legacy area and the header, and of what FXSAVE writes at most.
const LEGACY_BYTES: u64 = 512 + 64;

/// What the trampoline saves, and whatever else must leave registers as they are. It is written once, when a table is
/// made.
#[repr(C)]
#[derive(Debug)]
pub struct XState {
    /// Operand of XSAVE and XRSTOR; 0 where there is no XSAVE and FXSAVE is all there is.
    pub mask: AtomicU64,
    /// Bytes of the area.
    pub bytes: AtomicU64,
}

/// Of this process.
pub static XSTATE: XState = XState { mask: AtomicU64::new(0), bytes: AtomicU64::new(LEGACY_BYTES) };

/// Assembly that saves what [`XSTATE`] says at `rsp`, where as many bytes as it says lie, aligned to 64. Changes `eax`, `ecx`, `edx`
/// and flags.
///
/// Operands that the block must have: `XSTATE` (the symbol) and `XSTATE_MASK` (offset of the mask in [`XState`]).
#[doc(hidden)]
#[macro_export]
macro_rules! save_register_state {
    () => {
        r#"
        mov     eax, [rip + {XSTATE} + {XSTATE_MASK}]
        mov     edx, [rip + {XSTATE} + {XSTATE_MASK} + 4]
        mov     ecx, eax
        or      ecx, edx
        jz      60f
        xor     ecx, ecx                # XSAVE leaves most of the header as it is, XRSTOR wants zeros
        mov     [rsp + 512], rcx
        mov     [rsp + 520], rcx
        mov     [rsp + 528], rcx
        mov     [rsp + 536], rcx
        mov     [rsp + 544], rcx
        mov     [rsp + 552], rcx
        mov     [rsp + 560], rcx
        mov     [rsp + 568], rcx
        xsave64 [rsp]
        jmp     61f
    60:
        fxsave64 [rsp]
    61:
        "#
    };
}

/// Assembly that restores what [`save_register_state`] saved. Changes the same registers, and needs the same operands.
#[doc(hidden)]
#[macro_export]
macro_rules! restore_register_state {
    () => {
        r#"
        mov     eax, [rip + {XSTATE} + {XSTATE_MASK}]
        mov     edx, [rip + {XSTATE} + {XSTATE_MASK} + 4]
        mov     ecx, eax
        or      ecx, edx
        jz      62f
        xrstor64 [rsp]
        jmp     63f
    62:
        fxrstor64 [rsp]
    63:
        "#
    };
}

/// What a processor says about its state components.
pub(crate) struct Processor {
    /// XCR0, or `None` where the operating system enabled no XSAVE.
    pub(crate) xcr0: Option<u64>,
    /// Size and offset of component `n` in the standard format: EAX and EBX of CPUID.(EAX=0DH, ECX=n).
    pub(crate) component: fn(u32) -> (u32, u32),
}

/// Mask and bytes of the area for `processor`.
pub(crate) fn area(processor: &Processor) -> (u64, u64) {
    let mask = processor.xcr0.unwrap_or(0) & COMPONENTS;
    let end = |n: u32| {
        let (bytes, offset) = (processor.component)(n);
        u64::from(bytes) + u64::from(offset)
    };
    // Components 0 and 1 are the legacy area.
    let bytes = (2..63).filter(|n| mask >> n & 1 != 0).map(end).fold(LEGACY_BYTES, u64::max);
    (mask, bytes)
}

#[cfg(target_arch = "x86_64")]
pub(crate) use host::detect;

#[cfg(target_arch = "x86_64")]
mod host {
    use super::{Processor, XSTATE, area};
    use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
    use std::sync::atomic::Ordering;

    /// Sets [`XSTATE`] for the processor this runs on.
    pub(crate) fn detect() {
        const OSXSAVE: u32 = 1 << 27;
        let enabled = __cpuid(1).ecx & OSXSAVE != 0;
        // SAFETY: OSXSAVE says that XGETBV exists and that the operating system enabled it.
        let xcr0 = enabled.then(|| unsafe { xcr0() });
        let component = |n| {
            let leaf = __cpuid_count(0xd, n);
            (leaf.eax, leaf.ebx)
        };
        let (mask, bytes) = area(&Processor { xcr0, component });
        // Relaxed: stubs are made, and so the trampoline entered, only after this thread made the table.
        XSTATE.mask.store(mask, Ordering::Relaxed);
        XSTATE.bytes.store(bytes, Ordering::Relaxed);
    }

    /// # Safety
    ///
    /// The processor has XGETBV.
    #[target_feature(enable = "xsave")]
    unsafe fn xcr0() -> u64 {
        // SAFETY: the caller's promise; register 0 always exists.
        unsafe { _xgetbv(0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sapphire_rapids(n: u32) -> (u32, u32) {
        match n {
            2 => (256, 576),
            5 => (64, 1088),
            6 => (512, 1152),
            7 => (1024, 1664),
            9 => (8, 2688),
            17 => (64, 2752),
            18 => (8192, 2816),
            _ => (0, 0),
        }
    }

    #[test]
    fn tiles_and_keys_stay_out() {
        let processor = Processor { xcr0: Some(0x602e7), component: sapphire_rapids };
        assert_eq!(area(&processor), (0xe7, 2688));
    }

    #[test]
    fn without_avx512_the_area_ends_with_avx() {
        assert_eq!(area(&Processor { xcr0: Some(0b111), component: sapphire_rapids }), (0b111, 832));
    }

    #[test]
    fn without_xsave_there_is_fxsave() {
        assert_eq!(area(&Processor { xcr0: None, component: sapphire_rapids }), (0, LEGACY_BYTES));
    }
}
