//! An OCI distribution registry in a directory.
