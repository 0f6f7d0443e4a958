//! `--chmod`: octal, or symbolic (`spec/build.md` 2.4).
//!
//! BuildKit reads symbolic modes with a translation of BSD's setmode(3), umask 0. That is not quite chmod(1): `=` takes
//! set-id bits off directories, too; `X` looks at the mode before all changes; `s` and `t` for `o` alone mean nothing.
use std::str::FromStr;

/// A parsed `--chmod`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chmod {
    /// The bits themselves, 0 to 07777.
    Octal(u16),
    /// Changes, applied in order.
    Symbolic(Vec<Change>),
}

/// One change of a mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Takes bits away.
    Clear(u16),
    /// Adds bits.
    Set(u16),
    /// `X`: adds bits if the file is a directory, or was executable by anybody.
    Search(u16),
    /// `g=u`: what one class may, others may (or may not) as well.
    Copy {
        /// How far the copied class's bits are from the right.
        from: u16,
        /// `rwx` bits of the classes that change.
        to: u16,
        /// Whether they get it, lose it, or get exactly it.
        operator: Operator,
    },
}

/// `+`, `-` or `=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `+`
    Add,
    /// `-`
    Remove,
    /// `=`
    Assign,
}

/// Text that is neither.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid chmod parameter: '{0}'. it should be octal string and between 0 and 07777")]
pub struct ChmodError(pub String);

const STICKY: u16 = 0o1000;
const OTHERS: u16 = 0o7;
/// All that `=` takes away when it names nobody: the sticky bit stays.
const EVERYBODY: u16 = 0o6777;

impl Chmod {
    /// The mode of a file or directory that had `mode`.
    pub fn apply(&self, mode: u16, is_directory: bool) -> u16 {
        match self {
            Self::Octal(bits) => *bits,
            Self::Symbolic(changes) => {
                let searchable = is_directory || mode & 0o111 != 0;
                changes.iter().fold(mode, |mode, change| change.apply(mode, searchable))
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

impl Change {
    fn apply(self, mode: u16, searchable: bool) -> u16 {
        match self {
            Self::Clear(bits) => mode & !bits,
            Self::Set(bits) => mode | bits,
            Self::Search(bits) => mode | if searchable { bits } else { 0 },
            Self::Copy { from, to, operator } => {
                let copied = (((mode >> from) & 0o7) * 0o111) & to;
                match operator {
                    Operator::Add => mode | copied,
                    Operator::Remove => mode & !copied,
                    Operator::Assign => (mode & !to) | copied,
                }
            }
        }
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
        let mut changes = Vec::new();
        text.split(',').try_for_each(|text| clause(text, &mut changes)).ok_or_else(bad)?;
        Ok(Self::Symbolic(changes))
    }
}

/// Adds the changes of `u+rwX-t`.
fn clause(text: &str, changes: &mut Vec<Change>) -> Option<()> {
    let actions = text.find(['+', '-', '='])?;
    let who = text[..actions].chars().try_fold(0, |who, letter| match letter {
        'u' => Some(who | 0o4700),
        'g' => Some(who | 0o2070),
        'o' => Some(who | OTHERS),
        'a' => Some(who | EVERYBODY),
        _ => None,
    })?;
    let mut rest = &text[actions..];
    while let Some(first) = rest.chars().next() {
        let operator = match first {
            '+' => Operator::Add,
            '-' => Operator::Remove,
            _ => Operator::Assign,
        };
        let end = rest[1..].find(['+', '-', '=']).map_or(rest.len(), |at| at + 1);
        Action { operator, who, changes }.read(&rest[1..end])?;
        rest = &rest[end..];
    }
    Some(())
}

/// An operator and what follows it.
struct Action<'a> {
    operator: Operator,
    /// Bits of the classes that are named; 0 when none is.
    who: u16,
    changes: &'a mut Vec<Change>,
}

impl Action<'_> {
    fn read(mut self, letters: &str) -> Option<()> {
        let (mut bits, mut search, mut assigned) = (0, 0, false);
        let others_only = self.who == OTHERS;
        for letter in letters.chars() {
            match letter {
                'r' => bits |= 0o444,
                'w' => bits |= 0o222,
                'x' => bits |= 0o111,
                'X' if self.operator == Operator::Remove => bits |= 0o111,
                'X' => search |= 0o111,
                's' | 't' if others_only => {}
                's' => bits |= 0o6000,
                't' => {
                    // As in setmode(3), `t` behind no class stands for itself alone: the `x` of `+xt` is lost.
                    self.who |= STICKY;
                    bits |= STICKY;
                }
                'u' | 'g' | 'o' => {
                    self.flush(std::mem::take(&mut bits), std::mem::take(&mut search));
                    assigned = true;
                    let from = match letter {
                        'u' => 6,
                        'g' => 3,
                        _ => 0,
                    };
                    let to = if self.who == 0 { 0o777 } else { self.who & 0o777 };
                    self.changes.push(Change::Copy { from, to, operator: self.operator });
                }
                _ => return None,
            }
        }
        if bits == 0 && self.operator == Operator::Assign && !assigned {
            self.changes.push(Change::Clear(if self.who == 0 { EVERYBODY } else { self.who }));
        }
        self.flush(bits, search);
        Some(())
    }

    fn flush(&mut self, bits: u16, search: u16) {
        let within = if self.who == 0 { !0 } else { self.who };
        if bits != 0 {
            match self.operator {
                Operator::Add => self.changes.push(Change::Set(bits & within)),
                Operator::Remove => self.changes.push(Change::Clear(bits & within)),
                Operator::Assign => {
                    let cleared = if self.who == 0 { EVERYBODY } else { self.who };
                    self.changes.extend([Change::Clear(cleared), Change::Set(bits & within)]);
                }
            }
        }
        if search != 0 {
            self.changes.push(Change::Search(search & within));
        }
    }
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
    fn with_umask_0() {
        assert_mode("+w", 0o444, false, 0o666);
        assert_mode("g=u", 0o640, false, 0o660);
        assert_mode("a=", 0o4755, false, 0);
        assert_mode("g+s", 0o755, true, 0o2755);
        assert_mode("+t", 0o777, true, 0o1777);
        assert_mode("u+x-w", 0o644, false, 0o544);
        assert_mode("=", 0o7777, true, 0o1000);
        assert_mode("a-X", 0o755, false, 0o644);
        assert_mode("ug+s,+t", 0o755, true, 0o7755);
        assert_mode("0", 0o777, false, 0);
        assert_mode("07777", 0, false, 0o7777);
    }

    #[test]
    fn as_setmode_3_and_not_chmod_1() {
        assert_mode("u=rwx,go=rx", 0o6755, true, 0o755);
        assert_mode("u+x,go+X", 0o644, false, 0o744);
        assert_mode("o+st", 0o644, false, 0o644);
        assert_mode("u=gw", 0o754, false, 0o254);
        assert_mode("g=u", 0o2640, false, 0o2660);
        assert_mode("go=u-w", 0o640, false, 0o644);
        assert_mode("+xt", 0o644, false, 0o1644);
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
