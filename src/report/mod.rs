//! In: the event channel. Out: what people and machines read: a terminal, a log, a job summary, a comment, JSON.
//!
//! A failing report is a warning and never changes the result of the deploy.
