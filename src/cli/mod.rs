//! In: the arguments and the environment. Out: settings, a run context, and the verb that was asked for.
//!
//! [`environment`] is the only reader of the process environment. `commands` are straight lines of calls through the
//! rooms, one file a verb: they decide nothing.
