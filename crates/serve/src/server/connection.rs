//! One connection: its requests, one after the other.

use crate::answer::{self, Answer};
use crate::endpoints::{self, Asked};
use crate::receive;
use crate::refusal::Refusal;
use crate::registry::Registry;
use crate::route::{Query, Route};
use crate::server::Observer;
use crate::server::patient::Patient;
use hyper::body::{Body, Incoming};
use hyper::header::{HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::Watcher;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::TlsAcceptor;

/// How long a client may take for the head of a request, and for a handshake.
const HEAD: Duration = Duration::from_secs(60);
/// How long a client may take nothing of an answer.
const UNREAD: Duration = Duration::from_secs(60);
/// Request line and headers together; more is answered with 431.
const HEAD_MAX: usize = 64 * 1024;

/// By this header Docker knows a registry.
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// What all connections share.
pub(super) struct Shared {
    pub(super) registry: Arc<Registry>,
    pub(super) observer: Option<Observer>,
    pub(super) tls: Option<TlsAcceptor>,
}

/// A request that was answered.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Who asked.
    pub peer: SocketAddr,
    /// `GET`.
    pub method: String,
    /// Path and query as they came.
    pub target: String,
    /// The answer's status.
    pub status: u16,
    /// The length of the answer's body.
    pub length: u64,
    /// From the request's head to the answer's.
    pub time: Duration,
    /// What is wrong on this side: the disk, the directory, the registry that is mirrored.
    pub trouble: Option<String>,
}

pub(super) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    shared: Arc<Shared>,
    watcher: Watcher,
    _permit: OwnedSemaphorePermit,
) {
    // Answers are small or large, never a trickle.
    let _ = stream.set_nodelay(true);
    match &shared.tls {
        None => requests(stream, peer, shared, watcher).await,
        Some(tls) => {
            if let Ok(Ok(stream)) = tokio::time::timeout(HEAD, tls.accept(stream)).await {
                requests(stream, peer, shared, watcher).await;
            }
        }
    }
}

async fn requests<S>(stream: S, peer: SocketAddr, shared: Arc<Shared>, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let shared = shared.clone();
        async move {
            // A task of its own: what is half done when the client leaves is not dropped at some await.
            let answer = tokio::spawn(async move { observed(&shared, peer, request).await });
            Ok::<_, Infallible>(answer.await.unwrap_or_else(|_| broken()))
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_MAX.max(512 * 1024))
        .serve_connection(TokioIo::new(Patient::new(stream, UNREAD)), service);
    // A client that went away is no error of ours.
    let _ = watcher.watch(connection).await;
}

/// A request that hit a defect of this program.
fn broken() -> Answer {
    answer::empty(StatusCode::INTERNAL_SERVER_ERROR)
}

async fn observed(shared: &Shared, peer: SocketAddr, request: Request<Incoming>) -> Answer {
    let begin = Instant::now();
    let (method, target) = (request.method().to_string(), request.uri().to_string());
    let (answer, trouble) = respond(&shared.registry, request).await;
    if let Some(observer) = &shared.observer {
        let length = answer.body().size_hint().exact().unwrap_or_default();
        let status = answer.status().as_u16();
        observer(&Exchange { peer, method, target, status, length, time: begin.elapsed(), trouble });
    }
    answer
}

async fn respond(registry: &Arc<Registry>, request: Request<Incoming>) -> (Answer, Option<String>) {
    let (head, body) = request.into_parts();
    let is_head = head.method == Method::HEAD;
    let mut asked = Asked {
        registry: registry.clone(),
        method: head.method,
        query: Query::of(&head.uri),
        headers: head.headers,
        body: Some(body),
    };
    let outcome = match admitted(registry, &asked).await.and_then(|()| Route::of(&head.uri)) {
        Ok(route) => endpoints::answer(&mut asked, route).await,
        Err(refusal) => Err(refusal),
    };
    if let Some(body) = asked.body.take() {
        receive::discard(body).await;
    }
    let trouble = outcome.as_ref().err().and_then(Refusal::trouble);
    let mut answer = outcome.unwrap_or_else(|refusal| refusal.answer());
    answer.headers_mut().insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    (if is_head { answer::without_body(answer) } else { answer }, trouble)
}

async fn admitted(registry: &Registry, asked: &Asked) -> Result<(), Refusal> {
    match &registry.passwords {
        Some(passwords) if !passwords.admit(&asked.headers).await => Err(Refusal::Unauthorized),
        _ => Ok(()),
    }
}
