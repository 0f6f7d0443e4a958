//! `/v2/_catalog`, `/v2/<name>/tags/list`, `/v2/<name>/referrers/<digest>`

use super::Asked;
use crate::answer::{self, Answer};
use crate::name::Repository;
use crate::refusal::Refusal;
use crate::route::Query;
use crate::threads::blocking;
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderName, LINK};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use strata_oci::{Digest, media_type};

const FILTERS: HeaderName = HeaderName::from_static("oci-filters-applied");
/// A list of referrers is a manifest to its reader, and those are bounded.
const REFERRERS_MAX: usize = 3 * 1024 * 1024;

/// Every repository.
pub(super) async fn catalog(asked: &Asked) -> Result<Answer, Refusal> {
    let page = Page::of(&asked.query)?;
    let registry = asked.registry.clone();
    let all = blocking(move || registry.storage.repositories()).await?;
    let all = all.iter().map(|name| name.as_str().to_owned()).collect();
    let (names, more) = page.cut(all);
    let mut answer = answer::json(StatusCode::OK, &json!({ "repositories": names }));
    link(&mut answer, "/v2/_catalog", more.as_deref(), &page);
    Ok(answer)
}

/// Every tag of a repository.
pub(super) async fn tags(asked: &Asked, name: &Repository) -> Result<Answer, Refusal> {
    let page = Page::of(&asked.query)?;
    let (registry, name_of) = (asked.registry.clone(), name.clone());
    let all = blocking(move || match &registry.mirror {
        Some(mirror) => mirror.tags(&registry.storage, &name_of),
        None if registry.storage.knows(&name_of) => Ok(Some(registry.storage.tags(&name_of)?)),
        None => Ok(None),
    });
    let all = all.await?.ok_or_else(|| Refusal::NameUnknown(name.to_string()))?;
    let (tags, more) = page.cut(all);
    let mut answer = answer::json(StatusCode::OK, &json!({ "name": name.as_str(), "tags": tags }));
    link(&mut answer, &format!("/v2/{name}/tags/list"), more.as_deref(), &page);
    Ok(answer)
}

/// What tells something about a manifest. Nothing is no error, and neither is a manifest that is not here yet.
pub(super) async fn referrers(asked: &Asked, name: &Repository, subject: &Digest) -> Result<Answer, Refusal> {
    let (registry, name_of, subject_of) = (asked.registry.clone(), name.clone(), *subject);
    let found = blocking(move || match &registry.mirror {
        Some(mirror) => mirror.referrers(&registry.storage, &name_of, &subject_of),
        None => Ok(registry.storage.referrers(&name_of, &subject_of)?),
    });
    let mut found = found.await?;
    let filter = asked.query.get("artifactType");
    if let Some(wanted) = filter {
        found.retain(|descriptor| descriptor["artifactType"] == *wanted);
    }
    let (page, more) = cut_referrers(found, asked.query.get("last"));
    let body = json!({ "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": page });
    let mut answer = answer::json(StatusCode::OK, &body);
    answer::set(&mut answer, CONTENT_TYPE, media_type::OCI_INDEX);
    if filter.is_some() {
        answer::set(&mut answer, FILTERS, "artifactType");
    }
    if let Some(last) = more {
        let mut query = format!("last={}", encode(&last));
        if let Some(wanted) = filter {
            query = format!("{query}&artifactType={}", encode(wanted));
        }
        answer::set(&mut answer, LINK, format!("</v2/{name}/referrers/{subject}?{query}>; rel=\"next\""));
    }
    Ok(answer)
}

/// As many descriptors behind `last` as fit, and the digest of the last of them if there are more.
fn cut_referrers(all: Vec<Value>, last: Option<&str>) -> (Vec<Value>, Option<String>) {
    let digest = |descriptor: &Value| descriptor["digest"].as_str().unwrap_or_default().to_owned();
    let mut rest =
        all.into_iter().filter(|descriptor| last.is_none_or(|last| digest(descriptor).as_str() > last));
    let (mut page, mut size) = (Vec::new(), 0);
    for descriptor in rest.by_ref() {
        size += descriptor.to_string().len() + 1;
        if size > REFERRERS_MAX && !page.is_empty() {
            return (page.clone(), page.last().map(digest));
        }
        page.push(descriptor);
    }
    (page, None)
}

/// The part of a list that is asked for.
struct Page {
    count: Option<usize>,
    last: Option<String>,
}

impl Page {
    fn of(query: &Query) -> Result<Self, Refusal> {
        let count = query.get("n").map(|text| text.parse().map_err(|_| Refusal::Number(text.to_owned())));
        Ok(Self { count: count.transpose()?, last: query.get("last").map(str::to_owned) })
    }

    /// The names of this page, and the last of them if more follow.
    fn cut(&self, sorted: Vec<String>) -> (Vec<String>, Option<String>) {
        let behind = |name: &String| self.last.as_ref().is_none_or(|last| name > last);
        let mut names: Vec<String> = sorted.into_iter().filter(behind).collect();
        let count = self.count.unwrap_or(names.len());
        let more = names.len() > count;
        names.truncate(count);
        // A page of nothing has no next one.
        let last = names.last().filter(|_| more).cloned();
        (names, last)
    }
}

fn link(answer: &mut Answer, path: &str, last: Option<&str>, page: &Page) {
    if let (Some(last), Some(count)) = (last, page.count) {
        answer::set(answer, LINK, format!("<{path}?last={}&n={count}>; rel=\"next\"", encode(last)));
    }
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_of_referrers_come_in_pages_and_none_is_lost() {
        let annotation = "x".repeat(REFERRERS_MAX / 10);
        let all: Vec<Value> =
            (10..35).map(|n| json!({ "digest": format!("d{n}"), "a": annotation })).collect();
        let (mut seen, mut last, mut pages) = (Vec::new(), None, 0);
        loop {
            let (page, more) = cut_referrers(all.clone(), last.as_deref());
            seen.extend(page);
            pages += 1;
            last = more;
            if last.is_none() {
                break;
            }
        }
        assert_eq!((seen, pages), (all, 3));
    }
}
