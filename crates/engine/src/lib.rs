//! One module per verb: build, run, inspect, save, prune. Sequencing only.
