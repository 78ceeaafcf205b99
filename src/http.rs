//! One recipe for HTTP clients: user agent, time-outs, certificates, retry policy, redaction.
