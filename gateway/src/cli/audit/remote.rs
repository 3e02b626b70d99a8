//! `tidegate audit request --url`: asks a witness over HTTP, and keeps what it answers.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;

use super::args::RequestArgs;
use super::{failed, key, own_key, read_file, with_newest};
use crate::audit::witness::{REQUEST_BYTES_MAX, Request};
use crate::audit::{Folder, WitnessKey, cosigned};
use crate::cli::failure::Failure;
use crate::disk::{Disk, RealDisk};
use crate::rules::settings::TlsSettings;
use crate::sinks::tls;

/// Longest time for one request.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Times that a witness is asked: once more when it has cosigned another size than was thought.
const ASKINGS: u32 = 2;

/// Why a witness gave no cosignature.
#[derive(Debug, thiserror::Error)]
pub(super) enum Remote {
    /// It refuses.
    #[error("the witness at {url} answers {status}: {why}")]
    Refused {
        /// Its address.
        url: String,
        /// The status.
        status: StatusCode,
        /// What it said.
        why: String,
    },
    /// It cannot be asked.
    #[error("the witness at {url} cannot be asked; nothing was changed")]
    Unasked {
        /// Its address.
        url: String,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What a witness answered.
struct Heard {
    status: StatusCode,
    is_size: bool,
    body: String,
}

/// Has the newest checkpoint cosigned by the witness at an address; gives its cosigned size.
pub(super) fn ask(args: &RequestArgs, url: &str, data_dir: &Path) -> Result<u64, Failure> {
    let witness = key(
        args.witness.as_deref().unwrap_or_default(),
        WitnessKey::parse,
    )?;
    let log = own_key(&Folder::of(data_dir))?;
    let mut old = args.old;
    for _ in 0..ASKINGS {
        let (request, size) = with_newest(data_dir, |snapshot, _| {
            Ok((snapshot.request(old)?, snapshot.size()))
        })?;
        let heard = post(args, url, &request)?;
        if heard.status == StatusCode::OK {
            let disk: Arc<dyn Disk> = Arc::new(RealDisk::existing(data_dir).map_err(failed)?);
            cosigned::keep(&disk, &log, &request, &heard.body, &witness).map_err(failed)?;
            return Ok(size);
        }
        match heard.body.trim().parse() {
            Ok(known) if heard.is_size && known != old => old = known,
            _ => return Err(refused(url, &heard)),
        }
    }
    Err(failed(Remote::Refused {
        url: url.to_owned(),
        status: StatusCode::CONFLICT,
        why: format!("it has cosigned {old} entries, and another size each time it is asked"),
    }))
}

fn refused(url: &str, heard: &Heard) -> Failure {
    let told = serde_json::from_str::<serde_json::Value>(&heard.body).ok();
    let told = told.and_then(|told| told["error"].as_str().map(str::to_owned));
    let why = Remote::Refused {
        url: url.to_owned(),
        status: heard.status,
        why: told.unwrap_or_else(|| heard.body.trim().to_owned()),
    };
    Failure::NotCosigned {
        source: Box::new(why),
    }
}

fn post(args: &RequestArgs, url: &str, request: &Request) -> Result<Heard, Failure> {
    let unasked = |source| {
        failed(Remote::Unasked {
            url: url.to_owned(),
            source,
        })
    };
    let token = match &args.token {
        Some(path) => Some(String::from_utf8_lossy(&read_file(path)?).trim().to_owned()),
        None => None,
    };
    let settings = TlsSettings {
        ca: args.ca.clone(),
        ..TlsSettings::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Failure::System { source })?;
    let sent = async {
        let builder = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        let builder = if url.starts_with("https:") {
            builder.tls_backend_preconfigured(tls::client_config(&settings)?)
        } else {
            // Fails where another part of the program was first; then a provider is there.
            let _ = rustls::crypto::ring::default_provider().install_default();
            builder.tls_certs_only([])
        };
        let url = format!("{}/add-checkpoint", url.trim_end_matches('/'));
        let mut posted = builder.build()?.post(url).body(request.to_bytes());
        if let Some(token) = token {
            posted = posted.bearer_auth(token);
        }
        let mut response = posted.send().await?;
        let status = response.status();
        let kind = response.headers().get(reqwest::header::CONTENT_TYPE);
        let is_size = kind.is_some_and(|kind| kind == "text/x.tlog.size");
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() > REQUEST_BYTES_MAX {
                return Err("its answer is longer than any".into());
            }
        }
        let body = String::from_utf8(body)?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(Heard {
            status,
            is_size,
            body,
        })
    };
    runtime.block_on(sent).map_err(unasked)
}
