//! Keeping both sides of a `fork` able to compile.
//!
//! The handlers run around `fork` with all signals blocked and the engine's locks held by the forking thread, so the
//! child starts from a consistent state. What each side does is in docs/design/fork.md.

use std::cell::Cell;
use std::sync::OnceLock;

use super::signals::Blocked;

/// What the engine does around a fork.
pub(crate) trait Forking: Sync {
    /// Takes every lock of the engine on the calling thread.
    fn before(&self);
    /// Releases the locks in the parent.
    fn in_parent(&self);
    /// Releases the locks in the child, whose only thread this is.
    fn in_child(&self);
}

static ENGINE: OnceLock<&'static dyn Forking> = OnceLock::new();

thread_local! {
    // No destructor: registering one would call libc's malloc inside a fork handler.
    static BLOCKED: Cell<Option<std::mem::ManuallyDrop<Blocked>>> = const { Cell::new(None) };
}

/// Has `engine` told about forks from now on. Only the first engine of a process is.
pub(crate) fn register(engine: &'static dyn Forking) {
    if ENGINE.set(engine).is_ok() {
        // SAFETY: the handlers take no argument and live in Kiln's own image.
        unsafe { libc::pthread_atfork(Some(prepare_handler), Some(parent_handler), Some(child_handler)) };
    }
}

unsafe extern "C" fn prepare_handler() {
    prepare();
}

unsafe extern "C" fn parent_handler() {
    parent();
}

unsafe extern "C" fn child_handler() {
    child();
}

/// Before a fork, on the thread that forks.
pub(crate) fn prepare() {
    let blocked = Blocked::all();
    if let Some(engine) = ENGINE.get() {
        engine.before();
    }
    BLOCKED.set(Some(std::mem::ManuallyDrop::new(blocked)));
}

/// After a fork, in the parent.
pub(crate) fn parent() {
    if let Some(engine) = ENGINE.get() {
        engine.in_parent();
    }
    unblock();
}

/// After a fork, in the child.
pub(crate) fn child() {
    if let Some(engine) = ENGINE.get() {
        engine.in_child();
    }
    unblock();
}

/// In a child whose fork ran no handlers (`_Fork`, a bare system call): does now what they would have done. What the
/// parent has installed meanwhile may be lost to it; what the child is about to install must not appear in the parent.
pub(crate) fn notice() {
    if kiln_codecache::forked_without_handlers() {
        prepare();
        child();
    }
}

fn unblock() {
    drop(BLOCKED.take().map(std::mem::ManuallyDrop::into_inner));
}
