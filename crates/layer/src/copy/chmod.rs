//! `--chmod`: octal, or symbolic as in chmod(1) with umask 0 (`spec/build.md` 2.4).
use std::str::FromStr;

/// A parsed `--chmod`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chmod {
    /// The bits themselves, 0 to 07777.
    Octal(u16),
    /// Clauses, applied in order.
    Symbolic(Vec<Clause>),
}

/// `u+rwX`: which classes, and what is done to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    /// Of `u`, `g`, `o`; all when none is written.
    who: Vec<Class>,
    actions: Vec<(Operator, Permissions)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    User,
    Group,
    Others,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Add,
    Remove,
    Set,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Permissions {
    /// `rwx` as bits of one class; the rest as flags.
    Bits { rwx: u16, x_if_any: bool, set_id: bool, sticky: bool },
    /// What another class has.
    CopyOf(Class),
}

/// Text that is neither.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid chmod parameter: '{0}'. it should be octal string and between 0 and 07777")]
pub struct ChmodError(pub String);

impl Chmod {
    /// The mode of a file or directory that had `mode`.
    pub fn apply(&self, mode: u16, is_directory: bool) -> u16 {
        match self {
            Self::Octal(bits) => *bits,
            Self::Symbolic(clauses) => {
                clauses.iter().fold(mode, |mode, clause| clause.apply(mode, is_directory))
            }
        }
    }

    /// The mode of a directory made on the way: an octal mode without setuid, setgid and sticky, as mkdir takes
    /// it in BuildKit; symbolic changes do not count there.
    pub fn implied_directory(&self) -> Option<u16> {
        match self {
            Self::Octal(bits) => Some(bits & 0o777),
            Self::Symbolic(_) => None,
        }
    }
}

impl Class {
    const fn shift(self) -> u16 {
        match self {
            Self::User => 6,
            Self::Group => 3,
            Self::Others => 0,
        }
    }

    /// The bit of `s` for this class.
    const fn set_id(self) -> u16 {
        match self {
            Self::User => 0o4000,
            Self::Group => 0o2000,
            Self::Others => 0,
        }
    }
}

impl Clause {
    fn apply(&self, mut mode: u16, is_directory: bool) -> u16 {
        for (operator, permissions) in &self.actions {
            let before = mode;
            let mut sticky = 0;
            for class in &self.who {
                let (bits, special) = permissions.of(*class, before, is_directory);
                let bits = bits << class.shift() | special;
                let all = 0o7 << class.shift() | if is_directory { 0 } else { class.set_id() };
                match operator {
                    Operator::Add => mode |= bits,
                    Operator::Remove => mode &= !bits,
                    // chmod(1): a directory keeps setuid and setgid unless they are named.
                    Operator::Set => mode = (mode & !all) | bits,
                }
                sticky |= permissions.sticky();
            }
            match operator {
                Operator::Add | Operator::Set => mode |= sticky,
                Operator::Remove => mode &= !sticky,
            }
        }
        mode
    }
}

impl Permissions {
    /// The `rwx` bits and the set-id bit that a class gets.
    fn of(self, class: Class, mode: u16, is_directory: bool) -> (u16, u16) {
        match self {
            Self::CopyOf(other) => (mode >> other.shift() & 0o7, 0),
            Self::Bits { rwx, x_if_any, set_id, .. } => {
                let execute = u16::from(x_if_any && (is_directory || mode & 0o111 != 0));
                (rwx | execute, if set_id { class.set_id() } else { 0 })
            }
        }
    }

    fn sticky(self) -> u16 {
        if matches!(self, Self::Bits { sticky: true, .. }) { 0o1000 } else { 0 }
    }
}

impl FromStr for Chmod {
    type Err = ChmodError;

    fn from_str(text: &str) -> Result<Self, ChmodError> {
        let bad = || ChmodError(text.to_owned());
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            let bits = u16::from_str_radix(text, 8).map_err(|_| bad())?;
            return if bits <= 0o7777 { Ok(Self::Octal(bits)) } else { Err(bad()) };
        }
        text.split(',').map(clause).collect::<Option<_>>().map(Self::Symbolic).ok_or_else(bad)
    }
}

fn clause(text: &str) -> Option<Clause> {
    let end = text.find(['+', '-', '='])?;
    let mut who = Vec::new();
    for letter in text[..end].chars() {
        match letter {
            'u' => who.push(Class::User),
            'g' => who.push(Class::Group),
            'o' => who.push(Class::Others),
            'a' => who.extend([Class::User, Class::Group, Class::Others]),
            _ => return None,
        }
    }
    if who.is_empty() {
        who.extend([Class::User, Class::Group, Class::Others]);
    }
    let mut actions = Vec::new();
    let mut rest = &text[end..];
    while let Some(first) = rest.chars().next() {
        let operator = match first {
            '+' => Operator::Add,
            '-' => Operator::Remove,
            _ => Operator::Set,
        };
        let end = rest[1..].find(['+', '-', '=']).map_or(rest.len(), |at| at + 1);
        actions.push((operator, permissions(&rest[1..end])?));
        rest = &rest[end..];
    }
    Some(Clause { who, actions })
}

fn permissions(text: &str) -> Option<Permissions> {
    match text {
        "u" => return Some(Permissions::CopyOf(Class::User)),
        "g" => return Some(Permissions::CopyOf(Class::Group)),
        "o" => return Some(Permissions::CopyOf(Class::Others)),
        _ => {}
    }
    let (mut rwx, mut x_if_any, mut set_id, mut sticky) = (0, false, false, false);
    for letter in text.chars() {
        match letter {
            'r' => rwx |= 4,
            'w' => rwx |= 2,
            'x' => rwx |= 1,
            'X' => x_if_any = true,
            's' => set_id = true,
            't' => sticky = true,
            _ => return None,
        }
    }
    Some(Permissions::Bits { rwx, x_if_any, set_id, sticky })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_mode(text: &str, before: u16, is_directory: bool, after: u16) {
        let mode = text.parse::<Chmod>().unwrap().apply(before, is_directory);
        assert_eq!(mode, after, "{text} on {before:o} gave {mode:o}, not {after:o}");
    }

    #[test]
    fn recorded_results() {
        assert_mode("u=rwX,go=rX", 0o755, false, 0o755);
        assert_mode("u=rwX,go=rX", 0o644, false, 0o644);
        assert_mode("u=rwX,go=rX", 0o700, true, 0o755);
        assert_mode("a+x,g-r", 0o755, true, 0o715);
        assert_mode("a+x,g-r", 0o644, false, 0o715);
        assert_mode("go=", 0o640, false, 0o600);
        assert_mode("+X", 0o755, false, 0o755);
        assert_mode("+X", 0o644, false, 0o644);
        assert_mode("u+s,o=u", 0o640, false, 0o4646);
    }

    #[test]
    fn as_chmod_1_with_umask_0() {
        assert_mode("+w", 0o444, false, 0o666);
        assert_mode("g=u", 0o640, false, 0o660);
        assert_mode("a=", 0o4755, false, 0);
        assert_mode("g+s", 0o755, true, 0o2755);
        assert_mode("+t", 0o777, true, 0o1777);
        assert_mode("u+x-w", 0o644, false, 0o544);
        assert_mode("0", 0o777, false, 0);
        assert_mode("07777", 0, false, 0o7777);
    }

    #[test]
    fn what_is_refused_and_how() {
        for text in ["64a", "10000", "", "u", "u+q", "8", "z+r", "u+r,", ",u+r"] {
            let error = text.parse::<Chmod>().unwrap_err();
            let expected = format!(
                "invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777"
            );
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn directories_on_the_way() {
        assert_eq!("1777".parse::<Chmod>().unwrap().implied_directory(), Some(0o777));
        assert_eq!("640".parse::<Chmod>().unwrap().implied_directory(), Some(0o640));
        assert_eq!("u+x".parse::<Chmod>().unwrap().implied_directory(), None);
    }
}
