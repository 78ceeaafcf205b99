//! What a token must allow: <https://distribution.github.io/distribution/spec/auth/scope/>.

/// What a token must allow. The scope that matters most comes first: a few registries look only at that one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Scope(Vec<String>);

impl Scope {
    /// Reading a repository.
    pub(crate) fn pull(path: &str) -> Self {
        Self(vec![format!("repository:{path}:pull")])
    }

    /// Writing to a repository.
    pub(crate) fn push(path: &str) -> Self {
        Self(vec![format!("repository:{path}:pull,push")])
    }

    /// Removing from a repository.
    pub(crate) fn delete(path: &str) -> Self {
        Self(vec![format!("repository:{path}:pull,delete")])
    }

    /// Also reading another repository of the same registry, to mount its blobs.
    pub(crate) fn and_pull(mut self, path: &str) -> Self {
        self.0.push(format!("repository:{path}:pull"));
        self
    }

    /// What it is made of, each as the protocol writes it: `repository:shop/api:pull,push`.
    pub(crate) fn parts(&self) -> &[String] {
        &self.0
    }
}
