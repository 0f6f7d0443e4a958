//! `--chmod` of COPY and ADD: octal or symbolic (`spec/build.md` 2.4).

/// A text that is neither an octal mode nor a symbolic one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid chmod parameter: '{0}'. it should be octal string and between 0 and 07777")]
pub struct ChmodError(pub String);

/// A mode to set, or changes to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chmod {
    /// All twelve bits.
    Octal(u32),
    /// `u=rwX,go=rX`
    Symbolic(Vec<Clause>),
}

/// One change of a symbolic mode: `go-w`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    who: Who,
    action: Action,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Who {
    user: bool,
    group: bool,
    other: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Add,
    Remove,
    Set,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct What {
    /// `rwx` as in one octal digit.
    bits: u32,
    /// `X`: `x` for directories and for what has an `x` already.
    search: bool,
    /// `s`
    set_id: bool,
    /// `t`
    sticky: bool,
    /// `u`, `g`, `o`: shift of the class whose bits are copied.
    copy: Option<u32>,
}

impl Chmod {
    /// Reads an expanded `--chmod`.
    pub fn parse(text: &str) -> Result<Self, ChmodError> {
        let wrong = || ChmodError(text.to_owned());
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            let digits = text.bytes().all(|b| b.is_ascii_digit());
            let mode = digits.then(|| u32::from_str_radix(text, 8).ok()).flatten();
            return mode.filter(|mode| *mode <= 0o7777).map(Self::Octal).ok_or_else(wrong);
        }
        let mut clauses = Vec::new();
        for part in text.split(',') {
            clauses.extend(part_clauses(part).ok_or_else(wrong)?);
        }
        Ok(Self::Symbolic(clauses))
    }

    /// The new permission bits (twelve) of a file or directory that has `mode`. The umask is 0.
    pub fn apply(&self, mode: u32, is_dir: bool) -> u32 {
        match self {
            Self::Octal(mode) => *mode,
            Self::Symbolic(clauses) => {
                clauses.iter().fold(mode & 0o7777, |mode, clause| clause.apply(mode, is_dir))
            }
        }
    }
}

/// `[ugoa]*([-+=][rwxXst]*|[-+=][ugo])+`
fn part_clauses(part: &str) -> Option<Vec<Clause>> {
    let actions = part.find(['+', '-', '='])?;
    let mut who = Who { user: false, group: false, other: false };
    for c in part[..actions].chars() {
        match c {
            'u' => who.user = true,
            'g' => who.group = true,
            'o' => who.other = true,
            'a' => who = Who { user: true, group: true, other: true },
            _ => return None,
        }
    }
    if actions == 0 {
        who = Who { user: true, group: true, other: true };
    }
    let mut clauses: Vec<Clause> = Vec::new();
    for c in part[actions..].chars() {
        let action = match c {
            '+' => Some(Action::Add),
            '-' => Some(Action::Remove),
            '=' => Some(Action::Set),
            _ => None,
        };
        match action {
            Some(action) => clauses.push(Clause { who, action, what: What::default() }),
            None => clauses.last_mut()?.what.add(c)?,
        }
    }
    Some(clauses)
}

impl What {
    fn add(&mut self, c: char) -> Option<()> {
        match c {
            _ if self.copy.is_some() => return None,
            'r' => self.bits |= 4,
            'w' => self.bits |= 2,
            'x' => self.bits |= 1,
            'X' => self.search = true,
            's' => self.set_id = true,
            't' => self.sticky = true,
            'u' | 'g' | 'o' if *self == Self::default() => {
                self.copy = Some(match c {
                    'u' => 6,
                    'g' => 3,
                    _ => 0,
                });
            }
            _ => return None,
        }
        Some(())
    }
}

impl Clause {
    fn apply(&self, mode: u32, is_dir: bool) -> u32 {
        let Who { user, group, other } = self.who;
        let what = self.what;
        let mut bits = what.bits;
        if what.search && (is_dir || mode & 0o111 != 0) {
            bits |= 1;
        }
        if let Some(shift) = what.copy {
            bits |= (mode >> shift) & 7;
        }
        let mut value = 0;
        // What `=` clears: the classes named, and their set-id bits where files have them.
        let mut scope = 0;
        for (on, shift, set_id) in [(user, 6, 0o4000), (group, 3, 0o2000), (other, 0, 0)] {
            if on {
                value |= bits << shift | if what.set_id { set_id } else { 0 };
                scope |= 7 << shift | set_id;
            }
        }
        if user && group && other {
            scope |= 0o1000;
            value |= if what.sticky { 0o1000 } else { 0 };
        }
        match self.action {
            Action::Add => mode | value,
            Action::Remove => mode & !value,
            Action::Set => mode & !scope | value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal() {
        assert_eq!(Chmod::parse("0"), Ok(Chmod::Octal(0)));
        assert_eq!(Chmod::parse("07777"), Ok(Chmod::Octal(0o7777)));
        for text in ["64a", "10000", "8", "", "0o7", "-1", "u", "u+q", "u=gw", "x+r", "99999999999999"] {
            let wanted = format!(
                "invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777"
            );
            assert_eq!(Chmod::parse(text).unwrap_err().to_string(), wanted);
        }
    }

    #[test]
    fn symbolic() {
        let apply = |text: &str, mode, is_dir| Chmod::parse(text).unwrap().apply(mode, is_dir);
        for (text, mode, is_dir, wanted) in [
            ("u=rwX,go=rX", 0o600, false, 0o644),
            ("u=rwX,go=rX", 0o700, false, 0o755),
            ("u=rwX,go=rX", 0o600, true, 0o755),
            ("a+X", 0o644, false, 0o644),
            ("a+X", 0o644, true, 0o755),
            ("go-w", 0o666, false, 0o644),
            ("+x", 0o644, false, 0o755),
            ("g=u", 0o640, false, 0o660),
            ("o=", 0o777, false, 0o770),
            ("u+s", 0o755, false, 0o4755),
            ("g+s", 0o755, true, 0o2755),
            ("+t", 0o777, true, 0o1777),
            ("a=r", 0o4755, false, 0o444),
            ("u+rw-x", 0o500, false, 0o600),
            ("=rw", 0o777, false, 0o666),
        ] {
            assert_eq!(apply(text, mode, is_dir), wanted, "{text} {mode:o}");
        }
    }
}
