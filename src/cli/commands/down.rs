//! `down`: removes what `up` made, and waits until it is gone.

use super::read_config;
use crate::cli::args::DownFlags;
use crate::cli::console;
use crate::cli::ending::{Ending, Stop};
use crate::cli::settings::Settings;
use crate::cli::walk::Walk;
use crate::config::Needs;
use crate::error::{Failure, FailureKind};
use crate::execute::remove::{self, Removal};
use std::io::BufRead as _;

/// Runs the verb.
pub(crate) async fn run(settings: &Settings, flags: &DownFlags) -> Result<Ending, Stop> {
    let (config, run) = read_config(settings, Needs::DOWN)?;
    let walk = Walk::new(settings, &config, &run);
    let survey = async {
        let (desired, open) = walk.to_cluster().await?;
        let removal = remove::survey(&desired, &open.cluster).await?;
        Ok::<_, Failure>((removal, open))
    };
    let (removal, open) = tokio::select! {
        found = survey => found.map_err(|failure| walk.redacted(failure))?,
        () = walk.signals.cancel.cancelled() => return Err(walk.stopped().into()),
    };
    console::say(&format!("{} in {} on {}", config.name, config.namespace, open.name));
    for object in &removal.foreign {
        console::say(&format!("{object} stays: it does not carry the labels of {}", config.name));
    }
    if removal.is_empty() {
        console::say("nothing to remove");
        return Ok(Ending::Done);
    }
    confirm(settings, flags, &config.name, &removal)?;
    remove::remove(&removal, &open.cluster, &walk.signals.cancel, |line| console::say(&line)).await?;
    console::say(&format!("{} is gone", config.name));
    Ok(Ending::Done)
}

/// Destroying asks for the name; where nobody can answer, it wants `--yes`.
fn confirm(settings: &Settings, flags: &DownFlags, name: &str, removal: &Removal) -> Result<(), Failure> {
    if flags.yes {
        return Ok(());
    }
    let objects =
        removal.objects.iter().map(|(object, _)| object).chain(removal.namespace.iter().map(|(object, _)| object));
    objects.for_each(|object| console::say(&format!("- {object}")));
    if !settings.terminal.answers {
        let failure =
            Failure::new(FailureKind::Configuration, "`down` removes all of this, and nobody is there to be asked");
        return Err(failure.with_hint("give `--yes`"));
    }
    console::say(&format!("type `{name}` to remove it, with everything in its namespace that was made for it:"));
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    if read.is_ok() && answer.trim() == name {
        return Ok(());
    }
    Err(Failure::new(FailureKind::Interrupted, "not confirmed: nothing was removed"))
}
