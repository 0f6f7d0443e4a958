//! Tar members: ustar, PAX, GNU, sparse. The hot path is our own.
