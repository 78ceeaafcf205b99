//! What a run knows by now: the digests that builds came to, the objects that were written, who still waits.

use super::Doors;
use super::event::{EventKind, Events, ImageResult};
use super::scheduler::Stop;
use crate::health::Memory;
use crate::kubernetes::{Cluster, Reflector, Scope};
use crate::model::{GroupVersionKind, ObjectRef};
use crate::plan::{Digests, OperationId, OperationKind, Plan};
use jiff::Timestamp;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Events of the cluster count from this long before the run on: clocks of machines differ a little.
const CLOCK_SKEW: jiff::SignedDuration = jiff::SignedDuration::from_secs(5);

/// What a run knows by now. Operations share it.
pub(super) struct Progress {
    /// What is done.
    pub(super) plan: Arc<Plan>,
    /// The doors.
    pub(super) doors: Doors,
    /// Where to say what happens.
    pub(super) events: Events,
    /// What tells operations to stop.
    pub(super) stop: Stop,
    /// When the run began, by the cluster's events.
    pub(super) started: Timestamp,
    /// What changes.
    state: Mutex<State>,
}

/// What changes during a run.
struct State {
    /// The digests, as far as they are known.
    digests: Digests,
    /// The objects that were written, in order.
    written: Vec<ObjectRef>,
    /// The generation that our apply gave an object.
    generations: BTreeMap<ObjectRef, i64>,
    /// When each signal was seen first.
    memory: Memory,
    /// The workloads that are still on their way, and whether without an error.
    waiting: BTreeMap<ObjectRef, bool>,
    /// The address, once it is known.
    address: Option<Address>,
}

/// Where the application answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// What people open: `http://203.0.113.10`, or the host name where one was given.
    pub(super) url: String,
    /// Where requests are sent: the address itself, whatever the host name leads to.
    pub(super) base: String,
    /// How it was found: `load balancer todo-lb, active`.
    pub(super) source: String,
}

impl Progress {
    /// A run that has done nothing yet.
    pub(super) fn new(plan: Arc<Plan>, doors: Doors, events: Events, stop: Stop) -> Self {
        let images = plan.operations.iter().filter_map(|operation| match &operation.kind {
            OperationKind::Build { image, .. }
            | OperationKind::Push { image, .. }
            | OperationKind::Mirror { image, .. }
            | OperationKind::Reuse { image, .. } => Some(image),
            _ => None,
        });
        let state = State {
            digests: Digests::new(images, plan.digests.clone(), plan.foreign.clone()),
            written: Vec::new(),
            generations: BTreeMap::new(),
            memory: Memory::default(),
            waiting: BTreeMap::new(),
            address: None,
        };
        let started = Timestamp::now().checked_sub(CLOCK_SKEW).unwrap_or(Timestamp::UNIX_EPOCH);
        Self { plan, doors, events, stop, started, state: Mutex::new(state) }
    }

    /// Begins to watch everything that will be waited for, before anything is written: what happens is then seen as it
    /// happens.
    pub(super) fn watch(&self) {
        for operation in &self.plan.operations {
            let OperationKind::WaitReady { object, .. } = &operation.kind else { continue };
            if self.cluster().kind(&object.gvk).is_ok() {
                self.reflector(object);
            }
            if let Some(namespace) = &object.namespace {
                Around::of(self.cluster(), namespace);
            }
        }
    }

    /// The cluster.
    pub(super) fn cluster(&self) -> &Cluster {
        &self.doors.cluster
    }

    /// The events of a namespace, as far as they were seen.
    pub(super) fn events_in(&self, namespace: &str) -> Arc<Vec<Value>> {
        Around::of(self.cluster(), namespace).events.objects()
    }

    /// The watch that shows an object.
    pub(super) fn reflector(&self, object: &ObjectRef) -> Reflector {
        self.cluster().watch(&self.cluster().scope_of(object))
    }

    /// Says how an operation goes on.
    pub(super) fn say(&self, operation: OperationId, message: impl Into<String>) {
        self.events.send(EventKind::Progress { operation, message: message.into() });
    }

    /// Says what went wrong without changing the result.
    pub(super) fn warn(&self, message: impl Into<String>) {
        self.events.send(EventKind::Warning { message: message.into() });
    }

    /// The digests that are known now.
    pub(super) fn digests(&self) -> Digests {
        self.state().digests.clone()
    }

    /// Notes the digest of an image that lies in the registry now; gives what people read.
    pub(super) fn learn_image(&self, result: &ImageResult) -> String {
        self.state().digests.ours.insert(result.key.clone(), result.digest.clone());
        result.detail.clone()
    }

    /// The objects that were written, in order.
    pub(super) fn written(&self) -> Vec<ObjectRef> {
        self.state().written.clone()
    }

    /// Notes that an object was written, and what the server made of it.
    pub(super) fn wrote(&self, object: &ObjectRef, answer: &serde_json::Value) {
        let mut state = self.state();
        state.written.push(object.clone());
        if let Some(generation) = answer["metadata"]["generation"].as_i64() {
            state.generations.insert(object.clone(), generation);
        }
    }

    /// The generation that our apply gave an object.
    pub(super) fn generation(&self, object: &ObjectRef) -> Option<i64> {
        self.state().generations.get(object).copied()
    }

    /// Does something with the memory of signals.
    pub(super) fn with_memory<T>(&self, act: impl FnOnce(&mut Memory) -> T) -> T {
        act(&mut self.state().memory)
    }

    /// Notes whether a workload is still on its way, and whether without an error; `None` once it has arrived or failed.
    pub(super) fn note_waiting(&self, object: &ObjectRef, well: Option<bool>) {
        let mut state = self.state();
        match well {
            Some(well) => drop(state.waiting.insert(object.clone(), well)),
            None => drop(state.waiting.remove(object)),
        }
    }

    /// Whether another workload is on its way without an error.
    pub(super) fn others_progress(&self, object: &ObjectRef) -> bool {
        let runs_pods = |other: &ObjectRef| matches!(other.gvk.group.as_str(), "apps" | "batch");
        self.state().waiting.iter().any(|(other, well)| *well && other != object && runs_pods(other))
    }

    /// The address, once it is known.
    pub(super) fn address(&self) -> Option<Address> {
        self.state().address.clone()
    }

    /// Notes the address.
    pub(super) fn found(&self, address: Address) {
        let Address { url, source, .. } = address.clone();
        self.state().address = Some(address);
        self.events.send(EventKind::Address { url, source });
    }

    /// What changes.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The watches of what stands around the objects of a namespace.
pub(super) struct Around {
    /// `ReplicaSet` objects.
    pub(super) replica_sets: Reflector,
    /// Pods.
    pub(super) pods: Reflector,
    /// Events.
    pub(super) events: Reflector,
}

impl Around {
    /// The watches of a namespace; they run from the first call on.
    pub(super) fn of(cluster: &Cluster, namespace: &str) -> Self {
        let watch = |api_version: &str, kind: &str| {
            cluster.watch(&Scope::all(&GroupVersionKind::new(api_version, kind), Some(namespace)))
        };
        Self { replica_sets: watch("apps/v1", "ReplicaSet"), pods: watch("v1", "Pod"), events: watch("v1", "Event") }
    }

    /// What cannot be watched, with the reason.
    pub(super) fn troubles(&self) -> BTreeSet<String> {
        let all = [&self.replica_sets, &self.pods, &self.events];
        all.into_iter().filter_map(Reflector::trouble).map(|error| error.to_string()).collect()
    }
}
