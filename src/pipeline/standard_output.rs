//! Whether the process was started without a standard output (`>&-`).
//!
//! Rust's runtime opens `/dev/null` for each of the descriptors 0 to 2 that is closed, before `main`; a dump would then
//! be written to nowhere and end well. So the question is asked before the runtime starts.

use std::sync::atomic::{AtomicBool, Ordering};

static CLOSED: AtomicBool = AtomicBool::new(false);

/// Called by the C runtime, before Rust's.
extern "C" fn look() {
    let closed = rustix::io::fcntl_getfd(rustix::stdio::stdout()).is_err();
    CLOSED.store(closed, Ordering::Relaxed);
}

// The section's content is what the System V ABI asks for: pointers to functions without arguments.
#[allow(unsafe_code)]
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

/// Whether descriptor 1 was closed when the process started.
pub(super) fn was_closed() -> bool {
    CLOSED.load(Ordering::Relaxed)
}
