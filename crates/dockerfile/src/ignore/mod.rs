//! `.dockerignore` (`spec/build.md` section 6), and the patterns of `COPY --exclude`.

mod pattern;
#[cfg(test)]
mod tests;

use pattern::Pattern;

/// A line of a `.dockerignore` that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IgnoreError {
    /// `!` without a pattern.
    #[error("line {line}: illegal exclusion pattern: \"!\"")]
    LoneExclamation {
        /// From 1.
        line: usize,
    },
    /// A broken `[...]`, or a `\` at the end.
    #[error("line {line}: syntax error in pattern \"{pattern}\"")]
    BadPattern {
        /// From 1.
        line: usize,
        /// As written.
        pattern: String,
    },
}

/// What becomes of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It belongs to the context.
    Include,
    /// It does not, nor does anything below it.
    Exclude,
    /// A directory that does not belong to the context, but something below it may.
    ExcludeButDescend,
}

/// A parsed `.dockerignore`. The last rule that matches a path or one of its parents wins.
#[derive(Clone, Debug, Default)]
pub struct Ignore {
    patterns: Vec<Pattern>,
    /// Where the `!` rules can match: only there can an ignored directory hold something.
    exceptions: Vec<Reach>,
}

/// What every path that a rule matches begins with.
#[derive(Clone, Debug)]
pub(crate) struct Reach {
    head: Vec<u8>,
    /// Nothing follows the head.
    exact: bool,
}

/// Which rules matched a directory: its children start from there.
type Matched = Vec<bool>;

impl Ignore {
    /// Reads a `.dockerignore`. Rules need not be UTF-8, as names need not be.
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self, IgnoreError> {
        let text = text.as_ref();
        let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
        let lines = text.split(|b| *b == b'\n').enumerate().filter(|(_, line)| line.first() != Some(&b'#'));
        Self::collect(lines.map(|(at, line)| (at + 1, line)))
    }

    /// Patterns one by one, as `--exclude` gives them: `#` means nothing there. Lines in errors count patterns.
    pub fn from_patterns<P: AsRef<[u8]>>(patterns: impl IntoIterator<Item = P>) -> Result<Self, IgnoreError> {
        let patterns: Vec<P> = patterns.into_iter().collect();
        Self::collect(patterns.iter().enumerate().map(|(at, pattern)| (at + 1, pattern.as_ref())))
    }

    fn collect<'t>(rules: impl Iterator<Item = (usize, &'t [u8])>) -> Result<Self, IgnoreError> {
        let mut ignore = Self::default();
        for (line, rule) in rules {
            let rule = trim(rule);
            let (exception, body) = match rule.strip_prefix(b"!") {
                Some(body) => (true, trim(body)),
                None => (false, rule),
            };
            if body.is_empty() {
                if exception {
                    return Err(IgnoreError::LoneExclamation { line });
                }
                continue;
            }
            let bad =
                |_| IgnoreError::BadPattern { line, pattern: String::from_utf8_lossy(body).into_owned() };
            let cleaned = clean(body);
            if exception && cleaned == b"/" {
                return Err(IgnoreError::LoneExclamation { line });
            }
            let rooted =
                if cleaned.len() > 1 { cleaned.strip_prefix(b"/").unwrap_or(&cleaned) } else { &cleaned };
            let pattern = Pattern::parse(rooted, exception).map_err(bad)?;
            if exception {
                ignore.exceptions.push(pattern.reach());
            }
            ignore.patterns.push(pattern);
        }
        Ok(ignore)
    }

    /// True if there are no rules.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// True if there is any `!` rule; then `CopyIgnoredFile` is not reported.
    pub fn has_exceptions(&self) -> bool {
        !self.exceptions.is_empty()
    }

    /// What becomes of a path: relative to the root, parted by `/`, no `.` or `..`.
    ///
    /// For a whole tree [`Ignore::walk`] is faster.
    pub fn verdict(&self, path: &[u8], is_dir: bool) -> Verdict {
        self.walk().verdict(path, is_dir)
    }

    /// True if the path is excluded: by itself or with a parent. For `COPY --exclude`.
    pub fn matches_any(&self, path: &[u8]) -> bool {
        self.walk().verdict(path, false) == Verdict::Exclude
    }

    /// Verdicts for many paths. It remembers the directory it is in, so each path should come near its siblings.
    pub fn walk(&self) -> Walk<'_> {
        Walk { ignore: self, parents: Vec::new(), open: Vec::new() }
    }

    /// Which rules match, and whether the path is excluded.
    ///
    /// A rule that could not change the state is not tried, and then counts as not matching for the children as well:
    /// in `a/b`, `!a` the second rule does not bring `a/b` back. BuildKit's walk of the context does just that.
    fn step(&self, path: &[u8], parent: Option<&Matched>) -> (Matched, bool) {
        let mut excluded = false;
        let mut matched = vec![false; self.patterns.len()];
        for (i, pattern) in self.patterns.iter().enumerate() {
            let inherited = parent.is_some_and(|parent| parent[i]);
            matched[i] = inherited || (pattern.exception == excluded && pattern.matches(path));
            if matched[i] {
                excluded = !pattern.exception;
            }
        }
        (matched, excluded)
    }

    /// Whether some `!` rule could match below a directory.
    fn may_reenter(&self, dir: &[u8]) -> bool {
        self.exceptions.iter().any(|Reach { head, exact }| match head.strip_prefix(dir) {
            Some(below) => below.first().map_or(!exact, |next| *next == b'/'),
            None => !exact && dir.starts_with(head),
        })
    }
}

/// Verdicts along a walk of a tree.
#[derive(Clone, Debug)]
pub struct Walk<'i> {
    ignore: &'i Ignore,
    /// State of each open directory, outermost first, with the length of its path in `open`.
    parents: Vec<(usize, Matched)>,
    /// Path of the innermost open directory.
    open: Vec<u8>,
}

impl Walk<'_> {
    /// What becomes of a path; see [`Ignore::verdict`].
    pub fn verdict(&mut self, path: &[u8], is_dir: bool) -> Verdict {
        let path = &path[path.iter().take_while(|b| **b == b'/').count()..];
        if self.ignore.is_empty() || path.is_empty() || path == b"." {
            return Verdict::Include;
        }
        if let Some(slash) = path.iter().rposition(|b| *b == b'/') {
            self.enter(&path[..slash]);
        } else {
            self.parents.clear();
            self.open.clear();
        }
        let (_, excluded) = self.ignore.step(path, self.parents.last().map(|(_, matched)| matched));
        match excluded {
            false => Verdict::Include,
            true if is_dir && self.ignore.may_reenter(path) => Verdict::ExcludeButDescend,
            true => Verdict::Exclude,
        }
    }

    /// Makes `dir` the innermost open directory.
    fn enter(&mut self, dir: &[u8]) {
        if self.open == dir {
            return;
        }
        let is_parent = |length: usize| {
            dir.len() >= length
                && dir[..length] == self.open[..length]
                && matches!(dir.get(length), None | Some(b'/'))
        };
        let kept = self.parents.iter().take_while(|(length, _)| is_parent(*length)).count();
        self.parents.truncate(kept);
        let mut at = self.parents.last().map_or(0, |(length, _)| length + 1);
        while at <= dir.len() {
            let end = dir[at..].iter().position(|b| *b == b'/').map_or(dir.len(), |slash| at + slash);
            let (matched, _) = self.ignore.step(&dir[..end], self.parents.last().map(|(_, matched)| matched));
            self.parents.push((end, matched));
            at = end + 1;
        }
        self.open.clear();
        self.open.extend_from_slice(dir);
    }
}

fn trim(bytes: &[u8]) -> &[u8] {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.trim().as_bytes(),
        Err(_) => bytes.trim_ascii(),
    }
}

/// The shortest equal path: no empty and `.` elements, `..` taken out where it can be, no slash at the end.
pub(crate) fn clean(path: &[u8]) -> Vec<u8> {
    let rooted = path.first() == Some(&b'/');
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." if parts.last().is_some_and(|last| *last != b"..") => {
                parts.pop();
            }
            b".." if rooted => {}
            part => parts.push(part),
        }
    }
    let mut out = if rooted { vec![b'/'] } else { Vec::new() };
    out.extend(parts.join(&b'/'));
    if out.is_empty() {
        out.push(b'.');
    }
    out
}
