//! What `-v` and `-vv` show: the program's own remarks, on standard error, without secrets.

use super::settings::Settings;
use crate::model::Redactor;
use std::io::{self, Write};
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;

/// Starts the log as loud as the settings say; at 0 there is none. A second start changes nothing.
pub(crate) fn start(settings: &Settings) {
    let level = match settings.verbosity {
        0 => return,
        1 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    let writer = Redacted { redactor: settings.redactor.clone(), sink: io::stderr };
    let _ = tracing::subscriber::set_global_default(subscriber(level, settings.colour_stderr, writer));
}

/// A log of our own remarks. Those of libraries stay out: nobody has looked through them for what must not be seen.
fn subscriber<W>(level: LevelFilter, colour: bool, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = fmt::layer().compact().with_timer(fmt::time::uptime()).with_ansi(colour).with_writer(writer);
    tracing_subscriber::registry().with(Targets::new().with_target("seaway", level)).with(lines)
}

/// Takes secrets out of what is written. The formatter writes each remark whole, so that none is cut in two.
#[derive(Clone)]
struct Redacted<M> {
    /// Who knows the secrets.
    redactor: Redactor,
    /// Opens what is behind.
    sink: M,
}

/// One remark on its way.
struct Line<W> {
    /// Who knows the secrets.
    redactor: Redactor,
    /// Where it goes.
    sink: W,
}

impl<M: Fn() -> W, W: Write> MakeWriter<'_> for Redacted<M> {
    type Writer = Line<W>;

    fn make_writer(&self) -> Line<W> {
        Line { redactor: self.redactor.clone(), sink: (self.sink)() }
    }
}

impl<W: Write> Write for Line<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sink.write_all(self.redactor.redact(&String::from_utf8_lossy(bytes)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// A sink that can be read.
    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What a log of some level shows of remarks.
    fn logged(level: LevelFilter, remarks: impl FnOnce(&Redactor)) -> String {
        let (memory, redactor) = (Memory::default(), Redactor::default());
        let behind = memory.clone();
        let writer = Redacted { redactor: redactor.clone(), sink: move || behind.clone() };
        tracing::subscriber::with_default(subscriber(level, false, writer), || remarks(&redactor));
        let bytes = memory.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_secret_that_is_learnt_late_is_not_logged() {
        let text = logged(LevelFilter::DEBUG, |redactor| {
            redactor.register("hunter2/x");
            tracing::debug!(password = "hunter2/x", debugged = ?Some("hunter2/x"), "hunter2%2Fx aHVudGVyMi94");
        });
        assert!(text.contains("*** ***") && text.contains("password"), "{text}");
        assert!(!text.contains("hunter2") && !text.contains("aHVudGVyMi94"), "{text}");
    }

    #[test]
    fn each_level_shows_its_own_and_libraries_stay_out() {
        let remarks = |_: &Redactor| {
            tracing::info!("why");
            tracing::debug!("request");
            tracing::info!(target: "hyper", "foreign");
        };
        let (info, debug) = (logged(LevelFilter::INFO, remarks), logged(LevelFilter::DEBUG, remarks));
        assert_eq!(["why", "request", "foreign"].map(|word| info.contains(word)), [true, false, false], "{info}");
        assert_eq!(["why", "request", "foreign"].map(|word| debug.contains(word)), [true, true, false], "{debug}");
    }
}
