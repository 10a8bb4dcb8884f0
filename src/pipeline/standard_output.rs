//! Detects whether the process was started with standard output closed (`>&-`).
//!
//! Before `main`, Rust's runtime opens `/dev/null` for each of the descriptors 0 to 2 that is closed. A dump
//! would then be discarded without an error. The check therefore runs before the runtime starts.

use std::sync::atomic::{AtomicBool, Ordering};

static CLOSED: AtomicBool = AtomicBool::new(false);

/// The C runtime calls it before Rust's runtime starts.
extern "C" fn look() {
    let closed = rustix::io::fcntl_getfd(rustix::stdio::stdout()).is_err();
    CLOSED.store(closed, Ordering::Relaxed);
}

// The System V ABI requires this content of the section: pointers to functions without arguments.
#[allow(unsafe_code)]
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

/// Returns whether descriptor 1 was closed when the process started.
pub(super) fn was_closed() -> bool {
    CLOSED.load(Ordering::Relaxed)
}
