//! Threads that work in the background.

/// How much nicer than the rest of the program they are.
#[cfg(target_os = "linux")]
const NICER: i32 = 10;

/// The nicest that there is.
#[cfg(target_os = "linux")]
const NICEST: i32 = 19;

/// Has the calling thread give way to others: to those that carry what is compressed already, and to a registry on the same
/// machine, which is what a push waits for in the end. Left alone they have all processors as before.
///
/// On Linux each thread is as nice as it likes ("C library/kernel differences" of
/// <https://man7.org/linux/man-pages/man2/setpriority.2.html>); elsewhere it would be the whole program.
pub(super) fn give_way() {
    #[cfg(target_os = "linux")]
    if let Ok(now) = rustix::process::getpriority_process(None) {
        let _ = rustix::process::setpriority_process(None, (now + NICER).min(NICEST));
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use rustix::process::getpriority_process;

    #[test]
    fn a_thread_gives_way_and_no_other_does() {
        let before = getpriority_process(None).unwrap();
        let there = std::thread::spawn(|| {
            give_way();
            getpriority_process(None).unwrap()
        });
        assert_eq!(there.join().unwrap(), (before + NICER).min(NICEST));
        assert_eq!(getpriority_process(None).unwrap(), before);
    }
}
