//! Build graph, lowering, cache keys, solver, explain.
