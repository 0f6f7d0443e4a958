//! What the fuzz targets see of the inside; not there in an ordinary build.
use crate::error::answer::understand;
use crate::list::next_link;
use crate::{challenge, text};

/// The challenges of `WWW-Authenticate` headers: how many there are.
pub fn challenges(headers: &[&str]) -> usize {
    challenge::parse(headers.iter().copied()).len()
}

/// The next page that a `Link` header names.
pub fn next_page(header: &str) -> Option<&str> {
    next_link(header)
}

/// What is shown of an error document.
pub fn error_document(body: &[u8]) -> Option<String> {
    understand(body).1
}

/// What is shown of a registry's words.
pub fn shown(words: &str, longest: usize) -> String {
    text::printable(words, longest)
}
