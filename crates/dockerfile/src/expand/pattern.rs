//! The patterns of `${x#p}`, `${x%p}` and `${x/p/r}`: `*`, `?` and escapes, no brackets.

/// A compiled pattern.
pub(crate) struct Pattern {
    tokens: Vec<Token>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Token {
    /// `*`: any number of characters, newlines excepted.
    Star,
    /// `?`: one character, not a newline.
    Any,
    Char(char),
}

impl Pattern {
    /// `\*`, `\?` and `\\` are literal; `\}` and `\/` only protect the character from ending the pattern.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut tokens = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' => Token::Star,
                '?' => Token::Any,
                '\\' => match chars.next() {
                    Some(c @ ('*' | '?' | '\\' | '}' | '/')) => Token::Char(c),
                    other => {
                        let other = other.unwrap_or('\u{fffd}');
                        return Err(format!(
                            "invalid pattern ({text}) in substitution: invalid escape '\\{other}'"
                        ));
                    }
                },
                c => Token::Char(c),
            });
        }
        Ok(Self { tokens })
    }

    /// How many steps replacing takes at most in a value of so many bytes.
    pub(crate) fn cost(&self, length: usize) -> usize {
        let is_open = self.tokens.contains(&Token::Star);
        let reach = if is_open { length } else { self.tokens.len() };
        length.saturating_mul(reach).saturating_mul(self.tokens.len() + 1)
    }

    /// `value` without its shortest or longest head that matches.
    pub(crate) fn trim_start<'v>(&self, value: &'v str, longest: bool) -> &'v str {
        let length = matched(&self.tokens, value.chars(), longest).unwrap_or(0);
        &value[value.chars().take(length).map(char::len_utf8).sum()..]
    }

    /// `value` without its shortest or longest tail that matches.
    pub(crate) fn trim_end<'v>(&self, value: &'v str, longest: bool) -> &'v str {
        let reversed: Vec<Token> = self.tokens.iter().rev().copied().collect();
        let length = matched(&reversed, value.chars().rev(), longest).unwrap_or(0);
        let bytes: usize = value.chars().rev().take(length).map(char::len_utf8).sum();
        &value[..value.len() - bytes]
    }

    /// `value` with the first, or every, longest match replaced. An empty match right behind another is none.
    pub(crate) fn replace(&self, value: &str, text: &str, all: bool) -> String {
        let mut out = String::new();
        let mut rest = value;
        let mut behind_match = false;
        loop {
            let found = matched(&self.tokens, rest.chars(), true);
            if let Some(length) = found.filter(|length| *length > 0 || !behind_match) {
                out.push_str(text);
                rest = &rest[rest.chars().take(length).map(char::len_utf8).sum()..];
                if !all {
                    out.push_str(rest);
                    return out;
                }
                behind_match = length > 0;
                if behind_match {
                    continue;
                }
            }
            behind_match = false;
            let Some(c) = rest.chars().next() else { return out };
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
}

/// How many characters at the head match, as few or as many as possible. All positions in the pattern that can be
/// reached are followed at once, so that no pattern takes more than its length times the value's.
fn matched(tokens: &[Token], value: impl Iterator<Item = char>, longest: bool) -> Option<usize> {
    let (mut states, mut next) = (Places::new(tokens), Places::new(tokens));
    states.reach(0);
    let mut best = states.at_end().then_some(0);
    for (count, c) in value.enumerate() {
        if best.is_some() && !longest {
            break;
        }
        next.clear();
        for state in &states.list {
            match tokens.get(*state) {
                Some(Token::Star) if c != '\n' => next.reach(*state),
                Some(Token::Any) if c != '\n' => next.reach(state + 1),
                Some(Token::Char(wanted)) if *wanted == c => next.reach(state + 1),
                _ => {}
            }
        }
        if next.list.is_empty() {
            break;
        }
        std::mem::swap(&mut states, &mut next);
        if states.at_end() {
            best = Some(count + 1);
        }
    }
    best
}

/// Places in a pattern, each once.
struct Places<'t> {
    tokens: &'t [Token],
    list: Vec<usize>,
    /// By place: the round in which it was last added.
    added: Vec<u32>,
    round: u32,
}

impl<'t> Places<'t> {
    fn new(tokens: &'t [Token]) -> Self {
        Self { tokens, list: Vec::new(), added: vec![0; tokens.len() + 1], round: 1 }
    }

    fn clear(&mut self) {
        self.list.clear();
        self.round += 1;
    }

    fn at_end(&self) -> bool {
        self.added[self.tokens.len()] == self.round
    }

    /// Adds a place, and those behind it that need no character.
    fn reach(&mut self, mut place: usize) {
        while self.added[place] != self.round {
            self.added[place] = self.round;
            self.list.push(place);
            if self.tokens.get(place) != Some(&Token::Star) {
                break;
            }
            place += 1;
        }
    }
}
