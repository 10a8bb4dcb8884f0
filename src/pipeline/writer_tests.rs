pub(super) fn delay() -> Option<fn() -> std::time::Duration> {
    None
}
