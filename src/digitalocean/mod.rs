//! The `DigitalOcean` API: clusters, registries, load balancers, short-lived credentials.
