//! Member names as paths inside the layer.

/// Longest path in bytes that Linux opens (PATH_MAX without its NUL).
pub(crate) const MAX_PATH: usize = 4095;

/// Longest name of one directory entry in bytes.
const MAX_NAME: usize = 255;

/// What the name of a whiteout begins with (OCI layer spec, "Whiteouts").
pub(crate) const WHITEOUT: &[u8] = b".wh.";

/// The name that hides everything below its directory.
pub(crate) const OPAQUE: &[u8] = b".wh..wh..opq";

/// The path a name stands for, relative to the layer's root: no leading `/` or `./`, no `.` or `..`, no doubled or
/// trailing `/`; empty for the root. Cleaned by text alone, before any symlink, as Docker does.
pub(crate) fn clean(name: &[u8]) -> Result<Vec<u8>, String> {
    if name.contains(&0) {
        return Err("its name holds a NUL byte; names end before the first one".into());
    }
    let absolute = name.starts_with(b"/");
    let mut path: Vec<u8> = Vec::with_capacity(name.len());
    for component in name.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => match (path.iter().rposition(|byte| *byte == b'/'), path.is_empty()) {
                (_, true) if absolute => {}
                (_, true) => {
                    return Err("its name leads out of the layer; `..` may not pass the root".into());
                }
                (Some(slash), false) => path.truncate(slash),
                (None, false) => path.clear(),
            },
            _ => push(&mut path, component)?,
        }
    }
    if path.len() > MAX_PATH {
        return Err(format!("its name is {} bytes long; Linux opens {MAX_PATH} at most", path.len()));
    }
    Ok(path)
}

fn push(path: &mut Vec<u8>, component: &[u8]) -> Result<(), String> {
    // A whiteout is never a file: only the name it hides must fit.
    if component.strip_prefix(WHITEOUT).unwrap_or(component).len() > MAX_NAME {
        let length = component.len();
        return Err(format!(
            "a component of its name is {length} bytes long; file systems take {MAX_NAME} at most"
        ));
    }
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(component);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_relative_paths() {
        for (name, path) in [
            (&b"./"[..], &b""[..]),
            (b"", b""),
            (b"/", b""),
            (b"a", b"a"),
            (b"./a/", b"a"),
            (b"/a//b/./c", b"a/b/c"),
            (b"a/../b", b"b"),
            (b"a/b/../../c", b"c"),
            (b"a/b/..", b"a"),
            (b"/../../etc", b"etc"),
            (b"\xff/\x01", b"\xff/\x01"),
            (b"..a/a..", b"..a/a.."),
        ] {
            assert_eq!(clean(name).as_deref(), Ok(path), "{}", name.escape_ascii());
        }
    }

    #[test]
    fn names_that_escape_are_refused() {
        for name in [&b".."[..], b"../a", b"a/../../b", b"./..", b"a/b/../../../c"] {
            assert!(clean(name).unwrap_err().contains("leads out of the layer"), "{}", name.escape_ascii());
        }
    }

    #[test]
    fn names_that_no_file_system_takes_are_refused() {
        assert!(clean(&[b'a'; 256]).unwrap_err().contains("256 bytes"));
        assert!(clean(&[b'a'; 255]).is_ok());
        assert!(clean(&b"ab/".repeat(2000)).unwrap_err().contains("5999 bytes"));
        assert!(clean(b"a\0b").unwrap_err().contains("NUL"));
    }
}
