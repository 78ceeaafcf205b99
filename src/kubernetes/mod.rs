//! The API server: client, discovery, server-side apply, watches.
