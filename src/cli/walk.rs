//! The corridor as the verbs walk it: from a checked file to a plan, and from there to an outcome that is reported.

use super::args::OnGc;
use super::doors::{Cloud, OpenCluster, http_client, learn_secrets};
use super::ending::Ending;
use super::reporting;
use super::settings::Settings;
use super::signals::Signals;
use crate::config::Config;
use crate::desired::{self, Desired};
use crate::error::Failure;
use crate::execute::build::{needs_builder, without_builder};
use crate::execute::event::Header;
use crate::execute::{Doors, Event, EventKind, Events, ImageDoors, Outcome};
use crate::model::{Redactor, RunContext};
use crate::observe;
use crate::plan::{self, Observed, OperationKind, Plan};
use std::sync::Mutex;
use tokio::sync::mpsc::UnboundedReceiver;

/// One walk through the corridor.
pub(crate) struct Walk<'a> {
    /// The settings.
    settings: &'a Settings,
    /// The checked file.
    config: &'a Config,
    /// The circumstances.
    run: &'a RunContext,
    /// What takes secrets out of whatever is shown.
    pub(crate) redactor: Redactor,
    /// Where to say what happens.
    pub(crate) events: Events,
    /// What stops the walk.
    pub(crate) signals: Signals,
    /// What becomes of a push that meets a garbage collection.
    on_gc: OnGc,
    /// The other end of the events, until the reports take it.
    receiver: Mutex<Option<UnboundedReceiver<Event>>>,
}

impl<'a> Walk<'a> {
    /// A walk that begins now. Every secret of the file is known to the redactor from here on.
    pub(crate) fn new(settings: &'a Settings, config: &'a Config, run: &'a RunContext) -> Self {
        let redactor = settings.redactor.clone();
        learn_secrets(config, settings, &redactor);
        let (events, receiver) = Events::channel();
        let receiver = Mutex::new(Some(receiver));
        let (signals, on_gc) = (Signals::listen(), OnGc::default());
        Self { settings, config, run, redactor, events, signals, on_gc, receiver }
    }

    /// The same walk with this answer to a garbage collection.
    #[must_use]
    pub(crate) fn on_gc(self, on_gc: OnGc) -> Self {
        Self { on_gc, ..self }
    }

    /// Opens the doors, asks what exists, and plans. Nothing is written on the way.
    pub(crate) async fn to_plan(&self) -> Result<(Plan, Doors), Failure> {
        let desired = desired::render(self.config, self.run)?;
        let cloud = Cloud::new(self.settings, &self.redactor);
        self.prepare("opening the cluster and the registry");
        let (open, images) =
            tokio::try_join!(cloud.open_cluster(self.config), cloud.open_images(self.config, self.on_gc))?;
        self.events.send(EventKind::Started(Box::new(self.header(&desired, Some(&open)))));
        let desired = match cloud.pull_credential(self.config, &desired, &open.cluster).await? {
            Some(credential) => desired::with_pull_secret(desired, &credential),
            None => desired,
        };
        self.prepare("looking up images and objects");
        let looked_up = observe::images::survey(&desired, &images, &self.events);
        let (found, ()) = tokio::try_join!(looked_up, observe::cluster::list(&desired, &open.cluster))?;
        let mut observed = Observed { images: found.0, foreign: found.1, ..Observed::default() };
        let digests = plan::known_digests(&desired, &observed);
        observed.objects = observe::cluster::survey(&desired, &digests, &open.cluster).await?;
        let plan = plan::plan(&desired, observed);
        let doors = Doors { cluster: open.cluster, images, http: http_client(self.settings, true)? };
        Ok((plan, doors))
    }

    /// The same for the images alone.
    pub(crate) async fn to_images(&self) -> Result<(Plan, ImageDoors), Failure> {
        let mut desired = desired::render(self.config, self.run)?;
        desired.objects.clear();
        (desired.expose, desired.smoke) = (None, Vec::new());
        self.events.send(EventKind::Started(Box::new(self.header(&desired, None))));
        let cloud = Cloud::new(self.settings, &self.redactor);
        self.prepare("opening the registry");
        let images = cloud.open_images(self.config, self.on_gc).await?;
        self.prepare("looking up images");
        let found = observe::images::survey(&desired, &images, &self.events).await?;
        let observed = Observed { images: found.0, foreign: found.1, ..Observed::default() };
        Ok((plan::plan(&desired, observed), images))
    }

    /// The set and the cluster that it lives in.
    pub(crate) async fn to_cluster(&self) -> Result<(Desired, OpenCluster), Failure> {
        let desired = desired::render(self.config, self.run)?;
        let open = Cloud::new(self.settings, &self.redactor).open_cluster(self.config).await?;
        Ok((desired, open))
    }

    /// Prepares, carries out, and reports all along. A failure on the way to the plan is an outcome too.
    pub(crate) async fn report<P>(
        &self,
        prepare: impl Future<Output = Result<P, Failure>>,
        carry_out: impl AsyncFnOnce(P) -> Outcome,
    ) -> Ending {
        let receiver = self.receiver.lock().ok().and_then(|mut receiver| receiver.take());
        let reports = reporting::reports(self.settings, self.config, self.run, &self.redactor);
        let reports = receiver.map(|receiver| tokio::spawn(reports.run(receiver)));
        let prepared = tokio::select! {
            prepared = prepare => prepared,
            () = self.signals.cancel.cancelled() => Err(self.stopped()),
        };
        let outcome = match prepared {
            Ok(prepared) => carry_out(prepared).await,
            Err(failure) => Outcome { failures: vec![failure.into()], ..Outcome::default() },
        };
        let ending = self.ending(&outcome);
        let stopped_by = outcome.cancelled.then(|| self.signals.kind());
        let took = self.events.elapsed();
        self.events.send(EventKind::Finished(Box::new(Outcome { stopped_by, took, ..outcome })));
        if let Some(reports) = reports {
            let _ = reports.await; // a report that panics has nothing left to say; the deploy's own result stands
        }
        ending
    }

    /// The exit code's reason.
    fn ending(&self, outcome: &Outcome) -> Ending {
        match outcome.failures.first() {
            _ if outcome.cancelled => Ending::Failed(self.signals.kind()),
            Some(first) => Ending::Failed(first.failure.kind),
            None => Ending::Done,
        }
    }

    /// Says what is being done before there is a plan.
    fn prepare(&self, what: &str) {
        self.events.send(EventKind::Preparing { what: what.to_owned() });
    }

    /// The first line of every report.
    fn header(&self, desired: &Desired, open: Option<&OpenCluster>) -> Header {
        let (cluster, because) = open.map_or(("", ""), |open| (open.name.as_str(), open.because));
        Header {
            application: desired.application.clone(),
            namespace: desired.namespace.clone(),
            cluster: cluster.to_owned(),
            cluster_because: because.to_owned(),
            commit: self.run.git.as_ref().map(ToString::to_string),
            pull_request: self.run.pull_request,
        }
    }

    /// A failure without its secrets, for verbs that have no reports.
    pub(crate) fn redacted(&self, failure: Failure) -> Failure {
        redacted(&self.redactor, failure)
    }

    /// The failure of a walk that was stopped before anything was written.
    pub(crate) fn stopped(&self) -> Failure {
        Failure::new(self.signals.kind(), "stopped before anything was written").with_hint("run it again")
    }
}

/// A failure without its secrets.
pub(crate) fn redacted(redactor: &Redactor, failure: Failure) -> Failure {
    let redact = |text: String| redactor.redact(&text);
    let messages = failure.messages.into_iter().map(redact).collect();
    Failure { messages, hint: failure.hint.map(redact), ..failure }
}

/// Finds out before anything is written that what has to be built can be built.
pub(crate) async fn check_builder(plan: &Plan, doors: &ImageDoors) -> Result<(), Failure> {
    for operation in &plan.operations {
        let OperationKind::Build { image, .. } = &operation.kind else { continue };
        let Some(reason) = needs_builder(image).await else { continue };
        return doors.builder.check().await.map_err(|error| {
            let mut failure = Failure::from(error);
            without_builder(&mut failure, &image.key, Some(&reason));
            failure
        });
    }
    Ok(())
}
