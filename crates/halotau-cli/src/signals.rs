//! What happens on Ctrl-C, and where a file reaches the size limit of the process?

/// Takes the signals that would otherwise end the process without a word.
///
/// Every complete shard is on disk already, so stopping at once loses at most the shards at work. The size-limit signal is
/// caught and dropped: the write then fails with an error that has a name.
#[cfg(unix)]
pub(crate) fn install() {
    use std::io::Write;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::thread;

    use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
    use signal_hook::iterator::Signals;

    // Where the system refuses, its own behavior is left in place.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)));
    let Ok(mut signals) = Signals::new([SIGINT, SIGTERM]) else {
        return;
    };
    let wait = move || {
        if let Some(signal) = signals.forever().next() {
            let _ = writeln!(
                std::io::stderr(),
                "\nstopped; what is complete is kept, and the same command goes on from there"
            );
            std::process::exit(128 + signal);
        }
    };
    // Without the thread the signals would be swallowed, but spawning fails only where nothing works any more.
    let _ = thread::Builder::new()
        .name("signals".to_owned())
        .spawn(wait);
}

/// Other systems end the process on Ctrl-C; complete shards are kept there as well.
#[cfg(not(unix))]
pub(crate) fn install() {}
