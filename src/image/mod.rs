//! OCI image values: manifests, indexes, configurations, layers. Pure.
