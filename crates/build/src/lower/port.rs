//! `EXPOSE`: words to ports (`spec/build.md` 1.4).
use super::says;
use crate::error::Site;
use crate::scope::Env;
use crate::{BuildError, BuildErrorKind};
use strata_dockerfile::{Word, expand_words};

/// The ports of all words as `80/tcp`, ranges expanded, in the order of the words.
pub(super) fn expand(words: &[Word], env: &Env, escape: char, site: Site) -> Result<Vec<String>, BuildError> {
    let mut ports: Vec<String> = Vec::new();
    for word in words {
        let parts = expand_words(&word.text, escape, &|name| env.get(name).map(str::to_owned))
            .map_err(|error| site.word(word.span, BuildErrorKind::Expand(error)))?;
        for part in parts {
            let found = parse(&part).map_err(|sentence| site.word(word.span, says(sentence)))?;
            ports.extend(found.into_iter().filter(|port| !ports.contains(port)).collect::<Vec<_>>());
        }
    }
    Ok(ports)
}

/// `[ip:][host:]port[-port][/protocol]`. What stands before the last colon means nothing to an image.
fn parse(text: &str) -> Result<Vec<String>, String> {
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("invalid proto: {protocol}"));
    }
    let range = range.rsplit(':').next().unwrap_or(range);
    if range.is_empty() {
        return Err(format!("no port specified: {text}<empty>"));
    }
    let invalid = || format!("invalid containerPort: {range}");
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let number = |text: &str| text.parse::<u16>().map_err(|_| invalid());
    let (first, last) = (number(first)?, number(last)?);
    if last < first {
        return Err(invalid());
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_protocols_and_hosts() {
        assert_eq!(parse("80").expect("port"), ["80/tcp"]);
        assert_eq!(parse("53/UDP").expect("port"), ["53/udp"]);
        assert_eq!(parse("8000-8002/sctp").expect("range"), ["8000/sctp", "8001/sctp", "8002/sctp"]);
        assert_eq!(parse("127.0.0.1:8080:80").expect("host"), ["80/tcp"]);
    }

    #[test]
    fn refusals() {
        assert_eq!(parse("eighty").expect_err("word"), "invalid containerPort: eighty");
        assert_eq!(parse("70000").expect_err("large"), "invalid containerPort: 70000");
        assert_eq!(parse("9-8").expect_err("reversed"), "invalid containerPort: 9-8");
        assert_eq!(parse("80/ftp").expect_err("protocol"), "invalid proto: ftp");
    }
}
