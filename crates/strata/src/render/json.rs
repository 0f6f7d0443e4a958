//! JSON documents as Docker prints them: four spaces deep.

use serde::Serialize;

/// The documents as an array, indented by four spaces, with a final newline.
pub(crate) fn array<T: Serialize>(documents: &[T]) -> Result<String, serde_json::Error> {
    if documents.is_empty() {
        return Ok("[]\n".to_owned());
    }
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    documents.serialize(&mut serde_json::Serializer::with_formatter(&mut out, formatter))?;
    out.push(b'\n');
    Ok(String::from_utf8_lossy(&out).into_owned())
}
