//! Distribution client. Streams in, streams out; knows no store.
