//! Lists that come in pages.
use crate::endpoint::{At, Endpoint};
use crate::error::answer::Subject;
use crate::registries::about;
use crate::text::printable;
use crate::{Access, Error, Registries, Repository};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use strata_http::{Response, Url};

/// How many tags are asked for at once.
const PAGE: u32 = 1000;
/// The most that a list may have in all: a registry that never comes to an end is cut off.
const LONGEST: u64 = 64 << 20;

#[derive(Deserialize)]
struct Tags {
    /// `null` for a repository without tags.
    tags: Option<Vec<String>>,
}

impl Registries {
    /// All tags of a repository, in the registry's order.
    ///
    /// # Errors
    /// [`Error::NameUnknown`], [`Error::Denied`], [`Error::Malformed`].
    pub fn tags(&self, repository: &Repository) -> Result<Vec<String>, Error> {
        let endpoint = self.endpoint(repository.host())?;
        let subject = Subject::Repository(repository, Access::Pull);
        let mut call = about("GET", repository, format!("tags/list?n={PAGE}"), subject, Access::Pull);
        let mut found = Vec::new();
        let mut pages = Pages::default();
        loop {
            let response = endpoint.expect(&call)?;
            let next = next_page(&endpoint, &response, subject)?;
            let page: Tags = pages.read(response, subject)?;
            found.extend(page.tags.unwrap_or_default().into_iter().map(|tag| printable(&tag, 200)));
            let Some(next) = next else { return Ok(found) };
            call.at = next;
        }
    }
}

/// Keeps count of what a list has brought.
#[derive(Default)]
pub(crate) struct Pages {
    bytes: u64,
    count: u32,
}

impl Pages {
    /// One page.
    pub(crate) fn read<T: DeserializeOwned>(
        &mut self,
        response: Response,
        subject: Subject<'_>,
    ) -> Result<T, Error> {
        let malformed = |why: String| Error::Malformed { subject: subject.to_string(), why };
        let body = response.into_body().bytes(LONGEST - self.bytes);
        let body = body.map_err(|error| malformed(error.to_string()))?;
        self.bytes += body.len() as u64;
        self.count += 1;
        if self.count > 10_000 {
            return Err(malformed("the list has no end".to_owned()));
        }
        serde_json::from_slice(&body).map_err(|error| malformed(error.to_string()))
    }
}

/// `Link: <...>; rel="next"`. The address must be the same registry's: what it is shown is meant for no other.
pub(crate) fn next_page(
    endpoint: &Endpoint,
    response: &Response,
    subject: Subject<'_>,
) -> Result<Option<At<'static>>, Error> {
    let Some(link) = response.headers("link").find_map(next_link) else { return Ok(None) };
    let url = endpoint.follow(response.url(), link, subject)?;
    if url.origin() != response.url().origin() {
        return Err(elsewhere(&url, subject));
    }
    if url == *response.url() {
        let why = "the list's next page is the same page".to_owned();
        return Err(Error::Malformed { subject: subject.to_string(), why });
    }
    Ok(Some(At::Url(url)))
}

fn elsewhere(url: &Url, subject: Subject<'_>) -> Error {
    Error::Redirect {
        subject: subject.to_string(),
        to: format!("{}://{}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path()),
        why: "the list's next page is on another host",
    }
}

pub(crate) fn next_link(header: &str) -> Option<&str> {
    let mut rest = header;
    while let Some((_, link)) = rest.split_once('<') {
        let (target, after) = link.split_once('>')?;
        let parameters = after.split_once('<').map_or(after, |(parameters, _)| parameters);
        let next = parameters.split(';').any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            name.trim().eq_ignore_ascii_case("rel")
                && value
                    .trim()
                    .trim_end_matches(',')
                    .trim()
                    .trim_matches('"')
                    .split(' ')
                    .any(|one| one == "next")
        });
        if next {
            return Some(target);
        }
        rest = after;
    }
    None
}

/// Text as a query's value.
pub(crate) fn encoded(text: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/');
    let one = |byte: u8| if keep(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found_among_links() {
        for (header, want) in [
            ("</v2/a/tags/list?last=b&n=1>; rel=\"next\"", Some("/v2/a/tags/list?last=b&n=1")),
            ("<https://x/1>; rel=prev, <https://x/2>; title=\"t\"; rel=\"last next\"", Some("https://x/2")),
            ("</a>;rel=next", Some("/a")),
            ("</a>; rel=\"prev\"", None),
            ("</a>", None),
            ("rubbish", None),
            ("<", None),
        ] {
            assert_eq!(next_link(header), want, "{header}");
        }
    }

    #[test]
    fn values_of_queries() {
        assert_eq!(encoded("application/vnd.x+json&a=ä"), "application/vnd.x%2Bjson%26a%3D%C3%A4");
    }
}
