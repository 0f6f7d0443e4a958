//! Paths of an image, which are text with `/` whatever the host.

/// `path` absolute and clean, as Go's `path.Join(base, path)` makes it: `.` and `..` resolved, `..` clamped at the
/// root, no trailing slash.
pub(crate) fn join(base: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let base = if path.starts_with('/') { "" } else { base };
    for part in base.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The working directory after `WORKDIR path`: what is relative is joined to the one before and cleaned; what is absolute
/// stays as it is written, however unclean. That is what BuildKit puts into config and history.
pub(crate) fn working_directory(current: &str, path: &str) -> String {
    match path {
        "" if current.is_empty() => "/".to_owned(),
        "" => current.to_owned(),
        path if path.starts_with('/') => path.to_owned(),
        path => join(current, path),
    }
}

/// Destination of a COPY: like [`join`], but a trailing slash stays, because it says "a directory".
pub(crate) fn destination(base: &str, path: &str) -> String {
    let mut joined = join(base, path);
    let is_directory = path.ends_with('/') || matches!(path.rsplit('/').next(), Some("" | "."));
    if is_directory && joined != "/" {
        joined.push('/');
    }
    joined
}

/// Last component, `None` for the root.
pub(crate) fn base_name(path: &str) -> Option<&str> {
    path.trim_end_matches('/').rsplit('/').next().filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_clamp_and_clean() {
        for (base, path, want) in [
            ("/", "a", "/a"),
            ("/a", "b/c/", "/a/b/c"),
            ("/a/b", "../d", "/a/d"),
            ("/a", "/x/./y//z", "/x/y/z"),
            ("/a", "../../..", "/"),
            ("", "", "/"),
            ("/w", ".", "/w"),
        ] {
            assert_eq!(join(base, path), want, "{base} {path}");
        }
    }

    #[test]
    fn a_working_directory_is_cleaned_only_if_it_is_relative() {
        for (current, path, want) in [
            ("/a", "b/../c/", "/a/c"),
            ("/x/./y//z", ".", "/x/y/z"),
            ("/a", "/b/./c//d/", "/b/./c//d/"),
            ("", "w", "/w"),
            ("/a/", "", "/a/"),
            ("", "", "/"),
            ("/a", "..", "/"),
        ] {
            assert_eq!(working_directory(current, path), want, "{current} {path}");
        }
    }

    #[test]
    fn a_destination_says_whether_it_is_a_directory() {
        for (path, want) in [
            ("x", "/w/x"),
            ("x/", "/w/x/"),
            (".", "/w/"),
            ("", "/w/"),
            ("/", "/"),
            ("/a/.", "/a/"),
            ("..", "/"),
            ("a/..", "/w"),
        ] {
            assert_eq!(destination("/w", path), want, "{path}");
        }
    }
}
