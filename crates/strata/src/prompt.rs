//! Questions on a terminal.

use crate::failure::Failure;
use crate::output::emit;
use rustix::termios::{self, LocalModes, OptionalActions, SpecialCodeIndex, Termios};
use std::io::{self, BufRead, Read};

/// The exit code of a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// Asks, and reads a line.
pub(crate) fn line(question: &str) -> Result<String, Failure> {
    emit(question)?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim().to_owned())
}

/// Asks, and reads a line that nobody sees. Standard input must be a terminal.
///
/// Keys are read one by one, Ctrl-C too: a signal would end the program with the terminal still blind.
pub(crate) fn secret(question: &str) -> Result<String, Failure> {
    // First blind, then the question: who answers at once is not seen either.
    let blind = Blind::new()?;
    emit(question)?;
    let answer = typed(&mut io::stdin().lock());
    drop(blind);
    emit("\n")?;
    answer
}

/// What was typed up to Enter, with Backspace and Ctrl-U obeyed.
fn typed(keys: &mut impl Read) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let mut key = [0];
    loop {
        match keys.read(&mut key) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
            Ok(0) => break,
            Ok(_) => {}
        }
        match key[0] {
            b'\n' | b'\r' | 0x04 => break,
            0x03 => return Err(Failure::silent(INTERRUPTED)),
            0x15 => bytes.clear(),
            0x08 | 0x7f => {
                // A character may have several bytes.
                while bytes.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).map_err(|_| Failure::new("the password is not UTF-8"))
}

/// A terminal that does not show what is typed, until this is dropped.
struct Blind(Termios);

impl Blind {
    fn new() -> io::Result<Self> {
        let before = termios::tcgetattr(io::stdin())?;
        let mut blind = before.clone();
        blind.local_modes &= !(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG | LocalModes::IEXTEN);
        blind.special_codes[SpecialCodeIndex::VMIN] = 1;
        blind.special_codes[SpecialCodeIndex::VTIME] = 0;
        termios::tcsetattr(io::stdin(), OptionalActions::Flush, &blind)?;
        Ok(Self(before))
    }
}

impl Drop for Blind {
    fn drop(&mut self) {
        // A terminal that went away needs nothing any more.
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_obeyed() {
        for (keys, want) in [
            ("secret\n", "secret"),
            ("wrong\x15right\r", "right"),
            ("sex\x7fcrxx\x7f\x08et\n", "secret"),
            ("pässwörx\x7fd", "pässwörd"),
            ("ä\x7fx\x04", "x"),
            ("\x7f\n", ""),
        ] {
            let typed = typed(&mut keys.as_bytes()).unwrap_or_else(|_| panic!("{keys:?}"));
            assert_eq!(typed, want, "{keys:?}");
        }
        let interrupted = typed(&mut "abc\x03".as_bytes()).map(drop).expect_err("Ctrl-C");
        assert_eq!(interrupted.code(), INTERRUPTED);
    }
}
