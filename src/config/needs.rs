//! What a verb uses of deploy.yml: only that is filled in and read.

use super::variables::Missing;

/// A part of deploy.yml that some verbs leave alone. `name`, `namespace` and the keys of the images are always there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// `cluster`, `expose` and `rollout`.
    Cluster,
    /// `registry`, with its password.
    Registry,
    /// `images`: build arguments, build secrets, and that contexts and Dockerfiles are there.
    Images,
    /// `manifests`: the files.
    Manifests,
    /// `secrets`: the values.
    Secrets,
    /// `smoke`.
    Smoke,
}

/// The parts that a verb uses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Needs {
    /// The parts.
    parts: &'static [Part],
    /// What becomes of variables without a value.
    missing: Missing,
}

impl Needs {
    /// Everything: `check`, `plan`, `up`.
    pub(crate) const ALL: Self = Self {
        parts: &[Part::Cluster, Part::Registry, Part::Images, Part::Manifests, Part::Secrets, Part::Smoke],
        missing: Missing::Error,
    };

    /// `push` builds and pushes images.
    pub(crate) const PUSH: Self = Self { parts: &[Part::Registry, Part::Images], missing: Missing::Error };

    /// `down` removes objects, and needs no secret for that.
    pub(crate) const DOWN: Self = Self { parts: &[Part::Cluster, Part::Manifests], missing: Missing::Error };

    /// `registry clean` asks the cluster what runs, and the registry what is there.
    pub(crate) const CLEAN: Self = Self { parts: &[Part::Cluster, Part::Registry], missing: Missing::Error };

    /// The same, but a variable without a value is no mistake: `check --no-env`.
    #[must_use]
    pub(crate) fn without_environment(self) -> Self {
        Self { missing: Missing::Keep, ..self }
    }

    /// Whether a part is used.
    pub(super) fn include(self, part: Part) -> bool {
        self.parts.contains(&part)
    }

    /// What becomes of a variable without a value in a part.
    pub(super) fn missing_in(self, part: Option<Part>) -> Missing {
        match part {
            Some(part) if !self.include(part) => Missing::Keep,
            _ => self.missing,
        }
    }
}
