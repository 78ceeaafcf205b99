//! In: objects, their pods and events, as values. Out: a verdict. Pure: no clock, no input or output.
