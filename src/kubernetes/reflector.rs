//! The newest known state of everything in a watched scope.

use super::{Error, Listed};
use serde_json::Value;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// A mirror of a scope, kept by a watch. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Reflector(Arc<Inner>);

/// What the clones share.
struct Inner {
    /// The mirror itself.
    state: Mutex<State>,
    /// Tells everybody who waits that something changed.
    changes: watch::Sender<u64>,
    /// The task that watches.
    task: Mutex<Option<AbortHandle>>,
}

/// The mirror itself.
#[derive(Default)]
struct State {
    /// The objects, sorted by name: a scope has one namespace. Whoever looks shares them; a change copies them only
    /// while somebody does.
    objects: Arc<Vec<Value>>,
    /// Whether the first list is in.
    synced: bool,
    /// Why the watch does not work at present.
    trouble: Option<Error>,
}

impl Reflector {
    /// An empty mirror.
    pub(super) fn new(changes: watch::Sender<u64>) -> Self {
        Self(Arc::new(Inner { state: Mutex::default(), changes, task: Mutex::default() }))
    }

    /// Starts the task that keeps the mirror.
    pub(super) fn runs(&self, task: impl Future<Output = ()> + Send + 'static) {
        let handle = tokio::spawn(task).abort_handle();
        *self.0.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(handle);
    }

    /// Ends the task.
    pub(super) fn stop(&self) {
        if let Some(task) = self.0.task.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }

    /// Whether the first list is in: before that, what is not in the mirror may still exist.
    pub(crate) fn is_synced(&self) -> bool {
        self.state().synced
    }

    /// Why the watch does not work at present, if it does not.
    pub(crate) fn trouble(&self) -> Option<Error> {
        self.state().trouble.clone()
    }

    /// An object by its name.
    pub(crate) fn get(&self, name: &str) -> Option<Value> {
        let state = self.state();
        state.place(name).ok().map(|place| state.objects[place].clone())
    }

    /// All objects.
    pub(crate) fn objects(&self) -> Arc<Vec<Value>> {
        self.state().objects.clone()
    }

    /// Takes in what a write answered, so that nobody judges by a state from before the write.
    pub(crate) fn offer(&self, object: Value) {
        self.change(|state| state.put(object));
    }

    /// Takes in a whole list.
    pub(super) fn replace(&self, listed: &Listed) {
        self.change(|state| {
            let known = std::mem::take(&mut state.objects);
            for object in &listed.objects {
                state.put(Value::clone(object));
            }
            // What a write answered in the meantime may be newer than the list.
            for object in known.iter().filter(|object| version(object) > number(&listed.resource_version)) {
                state.put(object.clone());
            }
            state.synced = true;
            state.trouble = None;
        });
    }

    /// Takes in an event about an object that exists.
    pub(super) fn put(&self, object: Value) {
        self.change(|state| {
            state.trouble = None;
            state.put(object);
        });
    }

    /// Takes in an event about an object that is gone.
    pub(super) fn remove(&self, object: &Value) {
        self.change(|state| {
            if let Ok(place) = state.place(name(object)) {
                Arc::make_mut(&mut state.objects).remove(place);
            }
        });
    }

    /// Notes that the watch does not work, or that it does again.
    pub(super) fn set_trouble(&self, trouble: Option<Error>) {
        let same = self.state().trouble.is_some() == trouble.is_some();
        if !same {
            self.change(|state| state.trouble = trouble);
        }
    }

    /// Changes the mirror and tells everybody.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        drop(state);
        self.0.changes.send_modify(|count| *count += 1);
    }

    /// The mirror.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Puts an object in unless a newer one is there already.
    fn put(&mut self, mut object: Value) {
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("managedFields"); // half of an object, and nobody who watches reads it
        }
        let objects = Arc::make_mut(&mut self.objects);
        match place(objects, name(&object)) {
            Err(place) => objects.insert(place, object),
            Ok(place) => {
                let known = &objects[place];
                let reborn = known["metadata"]["uid"] != object["metadata"]["uid"];
                if reborn || version(&object) >= version(known) {
                    objects[place] = object;
                }
            }
        }
    }

    /// The place of a name, or where it would be.
    fn place(&self, name: &str) -> Result<usize, usize> {
        place(&self.objects, name)
    }
}

/// The place of a name among objects that are sorted by it, or where it would be.
fn place(objects: &[Value], wanted: &str) -> Result<usize, usize> {
    objects.binary_search_by(|object| name(object).cmp(wanted))
}

/// The name of an object.
fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// The resource version as a number.
///
/// It is one on every server on etcd, and comparable by definition from Kubernetes 1.35 on:
/// <https://github.com/kubernetes/enhancements/issues/5504>.
fn version(object: &Value) -> u64 {
    number(object["metadata"]["resourceVersion"].as_str().unwrap_or_default())
}

/// A version as a number, 0 where it is none.
fn number(version: &str) -> u64 {
    version.parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(version: &str, phase: &str) -> Value {
        json!({ "metadata": { "name": "a", "uid": "1", "resourceVersion": version }, "status": { "phase": phase } })
    }

    fn phase(reflector: &Reflector) -> String {
        reflector.get("a").unwrap()["status"]["phase"].as_str().unwrap().to_owned()
    }

    #[test]
    fn an_event_from_before_a_write_does_not_undo_its_answer() {
        let reflector = Reflector::new(watch::channel(0).0);
        reflector.offer(pod("12", "new"));
        reflector.put(pod("11", "old"));
        assert_eq!(phase(&reflector), "new");
        reflector.replace(&Listed { objects: vec![Arc::new(pod("10", "older"))], resource_version: "10".to_owned() });
        assert_eq!(phase(&reflector), "new");
        reflector.put(pod("13", "newest"));
        assert_eq!(phase(&reflector), "newest");
    }

    #[test]
    fn an_object_that_was_made_anew_replaces_the_old_one() {
        let reflector = Reflector::new(watch::channel(0).0);
        reflector.put(pod("12", "old"));
        let mut other = pod("3", "reborn");
        other["metadata"]["uid"] = json!("2");
        reflector.put(other);
        assert_eq!(phase(&reflector), "reborn");
    }

    #[test]
    fn every_change_is_told() {
        let (sender, receiver) = watch::channel(0);
        let reflector = Reflector::new(sender);
        reflector.put(pod("1", "x"));
        reflector.remove(&pod("1", "x"));
        assert_eq!(*receiver.borrow(), 2);
        assert!(reflector.objects().is_empty());
    }
}
