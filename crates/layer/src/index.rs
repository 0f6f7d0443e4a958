//! The index: an EROFS image, then our section of content digests.
