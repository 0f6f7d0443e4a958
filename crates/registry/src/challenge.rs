//! `WWW-Authenticate`: what a registry wants to be shown (RFC 9110, section 11.6.1; the distribution token
//! specification).

use strata_http::Response;

/// What one challenge of a 401 answer asks for. Schemes that registries do not use are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// User name and password with every request.
    Basic,
    /// A token that a token server gives out.
    Bearer(Bearer),
}

/// Where a token is to be had, and for what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bearer {
    /// URL of the token server.
    pub(crate) realm: String,
    /// The name under which the token server knows the registry.
    pub(crate) service: Option<String>,
    /// What the refused request would have needed, separated by spaces.
    pub(crate) scope: Option<String>,
    /// Why a token that was shown did not do: `invalid_token`, `insufficient_scope`.
    pub(crate) error: Option<String>,
}

/// All challenges of all `WWW-Authenticate` headers of an answer, in their order. What cannot be read is skipped: a
/// registry that sends rubbish beside a usable challenge is still usable.
pub(crate) fn parse<'a>(headers: impl Iterator<Item = &'a str>) -> Vec<Challenge> {
    headers.flat_map(|header| Scanner { rest: header }.challenges()).collect()
}

/// What to show after an answer. Tokens are preferred: a registry that offers both grants more with them.
pub(crate) fn choose(response: &Response) -> Option<Challenge> {
    let mut all = parse(response.headers("www-authenticate"));
    let bearer = all.iter().position(|one| matches!(one, Challenge::Bearer(_)));
    (!all.is_empty()).then(|| all.swap_remove(bearer.unwrap_or(0)))
}

struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    fn challenges(mut self) -> Vec<Challenge> {
        let mut found = Vec::new();
        loop {
            self.skip(|c| c == ',' || c.is_ascii_whitespace());
            let Some(scheme) = self.token() else { return found };
            let parameters = self.parameters();
            let value = |name: &str| {
                parameters
                    .iter()
                    .find(|(key, _)| key.eq_ignore_ascii_case(name))
                    .map(|(_, value)| value.clone())
            };
            if scheme.eq_ignore_ascii_case("basic") {
                found.push(Challenge::Basic);
            } else if scheme.eq_ignore_ascii_case("bearer")
                && let Some(realm) = value("realm")
            {
                found.push(Challenge::Bearer(Bearer {
                    realm,
                    service: value("service"),
                    scope: value("scope").filter(|scope| !scope.is_empty()),
                    error: value("error"),
                }));
            }
        }
    }

    /// `name=value, name="value"` up to the next scheme, which is a token that no `=` follows.
    fn parameters(&mut self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        loop {
            let before = self.rest;
            self.skip(|c| c == ',' || c.is_ascii_whitespace());
            let name = self.token();
            self.skip(|c| c.is_ascii_whitespace());
            let Some(name) = name.filter(|_| self.rest.starts_with('=')) else {
                self.rest = before;
                // A lone character that is no token would be met for ever.
                if name_is_missing(before) {
                    self.rest = "";
                }
                return found;
            };
            self.rest = &self.rest[1..];
            self.skip(|c| c.is_ascii_whitespace());
            let value = match self.rest.strip_prefix('"') {
                Some(quoted) => self.quoted(quoted),
                // Not a token by the grammar, but scopes and realms are sent bare: up to the comma.
                None => self.until(|c| c == ',' || c.is_ascii_whitespace()).to_owned(),
            };
            found.push((name.to_owned(), value));
        }
    }

    fn quoted(&mut self, text: &'a str) -> String {
        let mut value = String::new();
        let mut characters = text.char_indices();
        while let Some((at, c)) = characters.next() {
            match c {
                '"' => {
                    self.rest = &text[at + 1..];
                    return value;
                }
                '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
                other => value.push(other),
            }
        }
        self.rest = "";
        value
    }

    fn token(&mut self) -> Option<&'a str> {
        let token = self.until(|c| !is_token(c));
        (!token.is_empty()).then_some(token)
    }

    fn until(&mut self, stop: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(stop).unwrap_or(self.rest.len());
        let (found, rest) = self.rest.split_at(end);
        self.rest = rest;
        found
    }

    fn skip(&mut self, over: impl Fn(char) -> bool) {
        self.rest = self.rest.trim_start_matches(over);
    }
}

fn name_is_missing(rest: &str) -> bool {
    !rest.trim_start_matches(|c: char| c == ',' || c.is_ascii_whitespace()).starts_with(is_token)
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(header: &str) -> Challenge {
        let mut all = parse([header].into_iter());
        assert_eq!(all.len(), 1, "{header}: {all:?}");
        all.remove(0)
    }

    #[test]
    fn what_registries_send() {
        assert_eq!(one("Basic realm=\"Registry, of \\\"ours\\\"\""), Challenge::Basic);
        let hub = concat!(
            "Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",",
            "scope=\"repository:library/busybox:pull,push repository:a/b:pull\",error=\"insufficient_scope\""
        );
        let Challenge::Bearer(bearer) = one(hub) else { panic!("not a bearer") };
        assert_eq!(bearer.realm, "https://auth.docker.io/token");
        assert_eq!(bearer.service.as_deref(), Some("registry.docker.io"));
        assert_eq!(bearer.scope.as_deref(), Some("repository:library/busybox:pull,push repository:a/b:pull"));
        assert_eq!(bearer.error.as_deref(), Some("insufficient_scope"));
    }

    #[test]
    fn spaces_capitals_and_bare_values() {
        let want = Bearer { realm: "https://a/t".into(), service: Some("s".into()), ..Bearer::default() };
        for header in [
            "bearer realm=https://a/t, service=s",
            "BEARER  Realm = \"https://a/t\" ,\tService=\"s\", scope=\"\"",
            "Negotiate, Bearer realm=\"https://a/t\", service=\"s\"",
            "NTLM TlRMTVNTUAAB, Bearer realm=\"https://a/t\", service=\"s\"",
        ] {
            assert_eq!(one(header), Challenge::Bearer(want.clone()), "{header}");
        }
    }

    #[test]
    fn several_in_one_header_and_in_several() {
        let both = parse(["Basic realm=\"x\", Bearer realm=\"https://a\"", "basic"].into_iter());
        assert!(matches!(both[..], [Challenge::Basic, Challenge::Bearer(_), Challenge::Basic]), "{both:?}");
    }

    #[test]
    fn rubbish_is_no_challenge() {
        for header in [
            "",
            "   ,,",
            "=",
            "\"",
            "Bearer",
            "Bearer realm",
            "Digest realm=\"x\"",
            "@@@ Basic",
            "Basic-ish x=y",
        ] {
            assert_eq!(parse([header].into_iter()), [], "{header}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics_or_hangs(header in "[ -~]{0,80}|[bBearsic=,\" \\\\]{0,60}") {
            parse([header.as_str()].into_iter());
        }
    }
}
