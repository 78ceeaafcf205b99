//! Images made of files and settings: what a builder does without running anything.
//!
//! In: a base's configuration, what is known of its file tree, the files to copy. Out: the layers, entry by entry, and the
//! configuration. Pure but for the content of files, which is opened by whoever writes the archive.

pub(crate) mod archive;
pub(crate) mod blueprint;
pub(crate) mod copy;
pub(crate) mod glob;
pub(crate) mod mode;
pub(crate) mod source;
pub(crate) mod tree;
pub(crate) mod war;
pub(crate) mod zip;
