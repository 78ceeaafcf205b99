//! What a plan is made of.

use crate::config::{Expose, Rollout, SmokeStep};
use crate::desired::{DesiredImage, DesiredObject};
use crate::model::{Digest, ObjectRef, Reference};
use std::collections::BTreeMap;

/// Everything that one run does, in an order in which it can be done.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// What is deployed where.
    pub(crate) target: Target,
    /// The operations; each needs only operations before it.
    pub(crate) operations: Vec<Operation>,
    /// The digests that are known before anything is built: by image key.
    pub(crate) digests: BTreeMap<String, Digest>,
    /// The digests of images that Seaway did not build.
    pub(crate) foreign: BTreeMap<Reference, Digest>,
    /// How the rollout is waited for.
    pub(crate) rollout: Rollout,
}

/// What is deployed where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The application's name.
    pub(crate) application: String,
    /// Its namespace.
    pub(crate) namespace: String,
}

/// The number of an operation in its plan, from 0.
pub(crate) type OperationId = usize;

/// One step of a plan.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    /// Its number.
    pub(crate) id: OperationId,
    /// What is done.
    pub(crate) kind: OperationKind,
    /// The operations that must be done before it starts.
    pub(crate) needs: Vec<OperationId>,
    /// Why it is done, for people: `inputs changed`, `not in the registry yet`.
    pub(crate) reason: String,
}

/// What an operation does.
#[derive(Clone, Debug)]
pub(crate) enum OperationKind {
    /// Builds an image and pushes it under its content key and its tag.
    Build {
        /// The image.
        image: DesiredImage,
        /// The content key to push it under.
        content_key: String,
    },
    /// Pushes an image that something else made, under its content key and its tag.
    Push {
        /// The image.
        image: DesiredImage,
        /// The content key to push it under.
        content_key: String,
    },
    /// Copies an image from another registry.
    Mirror {
        /// The image.
        image: DesiredImage,
        /// Its digest at the source.
        digest: Digest,
        /// The content key to push it under.
        content_key: String,
    },
    /// The image lies in the registry already: only its tag for people is put, where it is missing.
    Reuse {
        /// The image.
        image: DesiredImage,
        /// Its digest.
        digest: Digest,
    },
    /// Applies an object.
    Apply {
        /// The object.
        object: Box<DesiredObject>,
        /// What becomes of it.
        change: Change,
    },
    /// Waits until an object is ready.
    WaitReady {
        /// The object.
        object: ObjectRef,
        /// Whether the object is applied in this plan: an unchanged one needs no settling.
        changed: bool,
    },
    /// Everything that was waited for stays ready for a while.
    Settle {
        /// How it is waited for.
        rollout: Rollout,
    },
    /// Learns the address of the application.
    Expose {
        /// Whose address.
        expose: Expose,
    },
    /// Sends the smoke requests.
    Smoke {
        /// The requests, in order.
        steps: Vec<SmokeStep>,
        /// The host name that they carry.
        host: Option<String>,
    },
}

/// What becomes of an object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    /// It comes into being.
    Create,
    /// These fields change.
    Configure {
        /// The fields, in the order of the object.
        fields: Vec<FieldChange>,
        /// Whether its pods are replaced.
        rolls: bool,
    },
    /// Nothing changes: no request is sent.
    Unchanged,
}

/// One field of an object that changes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FieldChange {
    /// `spec.template.spec.containers[api].image`.
    pub(crate) path: String,
    /// The value as it is, as people read it; `None` where there is none. `***` where it is secret.
    pub(crate) before: Option<String>,
    /// The value as it will be.
    pub(crate) after: Option<String>,
}
