//! One module per kind of thing that the distribution specification serves.

mod blobs;
mod listing;
mod manifests;
mod range;
mod uploads;

use crate::answer::{self, Answer};
use crate::refusal::Refusal;
use crate::registry::Registry;
use crate::route::{Query, Route};
use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderName};
use hyper::{HeaderMap, Method, StatusCode};
use std::sync::Arc;

/// A request whose route is known.
pub(crate) struct Asked {
    pub(crate) registry: Arc<Registry>,
    pub(crate) method: Method,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    /// Taken by the endpoint that reads it.
    pub(crate) body: Option<Incoming>,
}

impl Asked {
    /// A header as text.
    fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    fn body(&mut self) -> Incoming {
        self.body.take().expect("an endpoint takes the body once")
    }
}

/// Does what was asked for.
pub(crate) async fn answer(asked: &mut Asked, route: Route) -> Result<Answer, Refusal> {
    if !route.only_reads(&asked.method) {
        if asked.registry.mirror.is_some() {
            return Err(Refusal::ReadOnly("this registry is a mirror: push to the registry that it mirrors"));
        }
        if asked.registry.read_only {
            return Err(Refusal::ReadOnly("this registry is read-only"));
        }
    }
    let method = asked.method.clone();
    let allowed = match (&route, method.as_str()) {
        (Route::Version, "GET" | "HEAD") => return Ok(version()),
        (Route::Catalog, "GET") => return listing::catalog(asked).await,
        (Route::Tags(name), "GET") => return listing::tags(asked, name).await,
        (Route::Referrers(name, subject), "GET") => return listing::referrers(asked, name, subject).await,
        (Route::Manifest(name, reference), "GET" | "HEAD") => {
            return manifests::get(asked, name, reference).await;
        }
        (Route::Manifest(name, reference), "PUT") => return manifests::put(asked, name, reference).await,
        (Route::Manifest(name, reference), "DELETE") => {
            return manifests::delete(asked, name, reference).await;
        }
        (Route::Blob(name, digest), "GET" | "HEAD") => return blobs::get(asked, name, digest).await,
        (Route::Blob(name, digest), "DELETE") => return blobs::delete(asked, name, digest).await,
        (Route::Uploads(name), "POST") => return uploads::begin(asked, name).await,
        (Route::Upload(name, id), "PATCH") => return uploads::append(asked, name, id).await,
        (Route::Upload(name, id), "PUT") => return uploads::finish(asked, name, id).await,
        (Route::Upload(name, id), "GET") => return uploads::status(asked, name, id).await,
        (Route::Upload(name, id), "DELETE") => return uploads::cancel(asked, name, id).await,
        (Route::Version, _) => "GET, HEAD",
        (Route::Catalog | Route::Tags(_) | Route::Referrers(..), _) => "GET",
        (Route::Manifest(..), _) => "GET, HEAD, PUT, DELETE",
        (Route::Blob(..), _) => "GET, HEAD, DELETE",
        (Route::Uploads(_), _) => "POST",
        (Route::Upload(..), _) => "GET, PATCH, PUT, DELETE",
    };
    let mut answer = Refusal::Method(method.to_string()).answer();
    answer::set(&mut answer, ALLOW, allowed);
    Ok(answer)
}

fn version() -> Answer {
    answer::json(StatusCode::OK, &serde_json::json!({}))
}
