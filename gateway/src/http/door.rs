//! Door: the listening socket, its connections, and what each of them may take.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::http::{Method, Request, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::answer::{Answer, error, finish, is_unanswered, late};
use super::counts::{Counters, Meter, Open, count};
use super::credentials::{self, Credentials, CredentialsError};
use super::crowd::{Crowd, Place};
use super::events::Hub;
use super::guard::Guard;
use super::large::Large;
use super::newest::Newest;
use super::routes::{House, routes};
use super::taking::Taking;
use super::witnessing::{self, Cosigner, add_checkpoint};
use super::{HEAD_BYTES_MAX, Limits, Source, TARGET_BYTES_MAX, health};
use crate::rules::settings::ServeSettings;
use crate::time::Clock;

/// Said to a connection beyond the limit, before anything is read from it.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n\
    Retry-After: 2\r\nConnection: close\r\nContent-Length: 67\r\n\r\n\
    {\"error\":\"too many connections are open; close some, or try later\"}";

/// Why page, API and metrics cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address is taken.
    #[error(
        "page, API and metrics cannot be served on {listen}: something else listens there; stop it, or set http.listen to another port"
    )]
    InUse {
        /// The address.
        listen: SocketAddr,
    },
    /// The system refused the address.
    #[error("page, API and metrics cannot be served on {listen}: see http.listen")]
    Refused {
        /// The address.
        listen: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Certificate, token or password cannot be had.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
}

/// An open door: whoever connects waits until [`serve`](Self::serve).
pub struct Door {
    listener: TcpListener,
    listens: SocketAddr,
    settings: ServeSettings,
    credentials: Credentials,
    meter: Meter,
    cosigner: Option<Arc<Cosigner>>,
    pub(super) limits: Limits,
}

/// What every connection has.
struct Inside {
    guard: Guard,
    router: Router,
    credentials: watch::Receiver<Arc<Credentials>>,
    crowd: Crowd,
    cosigner: Option<Arc<Cosigner>>,
    counters: Arc<Counters>,
    limits: Limits,
}

impl Door {
    /// Listens, and reads certificate, token and password.
    ///
    /// # Errors
    /// The address or what is read cannot be used.
    pub async fn open(settings: &ServeSettings) -> Result<Self, HttpError> {
        let listen = settings.listen;
        let asked = settings.clone();
        let read = tokio::task::spawn_blocking(move || Credentials::read(&asked));
        let credentials = read.await.map_err(|broken| HttpError::Refused {
            listen,
            source: io::Error::other(broken),
        })??;
        let bound = TcpListener::bind(listen).await;
        let listener = bound.map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => HttpError::InUse { listen },
            _ => HttpError::Refused { listen, source },
        })?;
        let listens = listener
            .local_addr()
            .map_err(|source| HttpError::Refused { listen, source })?;
        Ok(Self {
            listener,
            listens,
            settings: settings.clone(),
            credentials,
            meter: Meter::default(),
            cosigner: None,
            limits: Limits::default(),
        })
    }

    /// Has requests to a witness taken, too.
    #[must_use]
    pub fn with_witness(mut self, cosigner: Cosigner) -> Self {
        self.cosigner = Some(Arc::new(cosigner));
        self
    }

    /// Where it listens; with the port that the system chose, if it was to choose.
    pub fn local_addr(&self) -> SocketAddr {
        self.listens
    }

    /// The address for a browser.
    pub fn url(&self) -> String {
        let scheme = if self.settings.tls.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}/", self.listens)
    }

    /// What tells what it did.
    pub fn meter(&self) -> Meter {
        self.meter.clone()
    }

    /// Answers until it is dropped; open connections end with it.
    pub async fn serve<S: Source>(self, source: Arc<S>, clock: Arc<dyn Clock>) {
        let counters = Arc::clone(&self.meter.0);
        let (current, credentials) = watch::channel(Arc::new(self.credentials));
        let newest = Arc::new(Newest::new(
            Arc::clone(&source),
            Arc::clone(&clock),
            self.limits,
        ));
        let hub = Arc::new(Hub::new(
            Arc::clone(&newest),
            Arc::clone(&counters),
            self.limits,
        ));
        let house = House {
            source,
            newest,
            large: Large::new(self.limits.large, Arc::clone(&counters)),
            hub: Arc::clone(&hub),
        };
        let inside = Arc::new(Inside {
            guard: Guard::new(
                &self.settings,
                self.listens,
                credentials.clone(),
                clock,
                Arc::clone(&counters),
            ),
            router: routes(house),
            credentials,
            crowd: Crowd::default(),
            cosigner: self.cosigner,
            counters,
            limits: self.limits,
        });
        let mut connections = JoinSet::new();
        let mut beat = pin!(hub.beat());
        let mut kept = pin!(credentials::keep(self.settings, current));
        loop {
            tokio::select! {
                never = &mut beat => match never {},
                () = &mut kept => {}
                Some(_) = connections.join_next() => {}
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, from)) => admit(stream, from, &inside, &mut connections),
                    Err(why) => {
                        tracing::warn!(%why, "a connection to page, API and metrics failed");
                        // Out of file descriptors, say: asking again at once would spin.
                        sleep(Duration::from_millis(100)).await;
                    }
                },
            }
        }
    }
}

impl Inside {
    /// A place for a connection, unless there are enough, of all or of its address.
    fn place(&self, from: IpAddr) -> Option<(Option<Place>, Open)> {
        let limits = &self.limits;
        let of_address = if (limits.is_exempt)(&from) {
            None
        } else {
            Some(self.crowd.enter(from, limits.connections_per_address)?)
        };
        let open = Open::one(
            &self.counters,
            |counters| &counters.connections,
            limits.connections,
        )?;
        Some((of_address, open))
    }
}

/// Begins to talk with a connection, or refuses it when there are enough.
fn admit(stream: TcpStream, from: SocketAddr, inside: &Arc<Inside>, connections: &mut JoinSet<()>) {
    let open = inside.place(from.ip());
    let tls = inside.credentials.borrow().tls.clone();
    let Some(open) = open else {
        count(&inside.counters.busy);
        if tls.is_none() {
            let _ = stream.try_write(FULL);
        }
        return;
    };
    // Events are short and told once a second.
    let _ = stream.set_nodelay(true);
    let inside = Arc::clone(inside);
    connections.spawn(async move {
        let _open = open;
        let Some(tls) = tls else {
            return converse(stream, from.ip(), inside).await;
        };
        let shaken = timeout(
            inside.limits.handshake,
            TlsAcceptor::from(tls).accept(stream),
        );
        match shaken.await {
            Ok(Ok(stream)) => converse(stream, from.ip(), inside).await,
            Ok(Err(_)) => count(&inside.counters.malformed),
            Err(_) => count(&inside.counters.slow),
        }
    });
}

/// Answers the requests of one connection.
async fn converse<T: AsyncRead + AsyncWrite + Unpin + 'static>(
    stream: T,
    from: IpAddr,
    inside: Arc<Inside>,
) {
    let limits = &inside.limits;
    let counters = Arc::clone(&inside.counters);
    let stream = Taking::new(stream, limits.take, limits.whole, counters);
    let asked = Arc::clone(&inside);
    let service = service_fn(move |request| {
        let inside = Arc::clone(&asked);
        async move { Ok::<_, Infallible>(respond(request, from, &inside).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(inside.limits.idle)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if served.is_err_and(|error| error.is_parse()) {
        count(&inside.counters.malformed);
    }
}

/// Answers one request.
async fn respond(request: Request<Incoming>, from: IpAddr, inside: &Inside) -> Answer {
    let cosigner = inside.cosigner.as_ref();
    let cosigner = cosigner.filter(|_| witnessing::is_asked(&request));
    let answer = match (
        refusal(&request, from, inside, cosigner.is_some()),
        cosigner,
    ) {
        (Some(refused), _) => refused,
        (None, Some(cosigner)) => cosign(request, Arc::clone(cosigner), inside).await,
        (None, None) => route(request, inside).await,
    };
    if is_unanswered(&answer) {
        count(&inside.counters.unanswered);
    }
    count(&inside.counters.answered);
    finish(answer)
}

/// Why a request is not looked at; one to the witness may have a body.
fn refusal(
    request: &Request<Incoming>,
    from: IpAddr,
    inside: &Inside,
    is_to_witness: bool,
) -> Option<Answer> {
    let uri = request.uri();
    if uri
        .path_and_query()
        .is_some_and(|target| target.as_str().len() > TARGET_BYTES_MAX)
    {
        let why = format!("the target has more than {TARGET_BYTES_MAX} bytes");
        return Some(closing(error(StatusCode::URI_TOO_LONG, &why)));
    }
    if is_to_witness {
        let admitted = inside.guard.admit(from, uri, request.headers());
        return admitted.err().map(|refused| closing(*refused));
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let why = if witnessing::is_asked(request) {
            witnessing::NO_WITNESS
        } else {
            "only GET and HEAD: nothing can be changed here; commands do that on the gateway's machine"
        };
        let mut refused = error(StatusCode::METHOD_NOT_ALLOWED, why);
        let allowed = header::HeaderValue::from_static("GET, HEAD");
        refused.headers_mut().insert(header::ALLOW, allowed);
        return Some(closing(refused));
    }
    if !request.body().is_end_stream() {
        let why = "a request has no body here: leave it out";
        return Some(closing(error(StatusCode::PAYLOAD_TOO_LARGE, why)));
    }
    if health::is_open(uri.path()) {
        return None;
    }
    let admitted = inside.guard.admit(from, uri, request.headers());
    admitted.err().map(|refused| *refused)
}

/// What follows such a request is not read.
fn closing(mut answer: Answer) -> Answer {
    let close = header::HeaderValue::from_static("close");
    answer.headers_mut().insert(header::CONNECTION, close);
    answer
}

/// Has a checkpoint cosigned; whoever sends one slowly does not hold the connection.
async fn cosign(request: Request<Incoming>, cosigner: Arc<Cosigner>, inside: &Inside) -> Answer {
    let answered = timeout(inside.limits.answer, add_checkpoint(request, cosigner)).await;
    closing(answered.unwrap_or_else(|_| late()))
}

async fn route(request: Request<Incoming>, inside: &Inside) -> Answer {
    let routed = TowerToHyperService::new(inside.router.clone()).call(request.map(Body::new));
    match timeout(inside.limits.answer, routed).await {
        Ok(Ok(answered)) => answered,
        Ok(Err(never)) => match never {},
        Err(_) => late(),
    }
}
