//! All on-disk state: layers, blobs, image references, containers, cache index, leases, sweep.
