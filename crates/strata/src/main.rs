//! The command line: arguments -> request -> render; exit codes; progress.

fn main() {}
