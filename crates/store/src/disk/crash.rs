//! Where the process dies on request: between the steps of a removal, for tests of the whole program.

/// The program ends here, as in a kill, if `COUNTERSIGN_FAULTS_CRASH` names this point.
#[cfg(feature = "faults")]
pub(crate) fn crash_at(point: &str) {
    static CHOSEN: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| std::env::var("COUNTERSIGN_FAULTS_CRASH").ok());
    if chosen.as_deref() == Some(point) {
        std::process::abort();
    }
}

/// Nothing, in what is released.
#[cfg(not(feature = "faults"))]
pub(crate) const fn crash_at(_: &str) {}
