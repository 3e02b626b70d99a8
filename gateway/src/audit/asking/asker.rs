//! Asker: asks one witness over HTTP, by tlog-witness' `add-checkpoint`, and keeps what it answers.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;

use super::Answer;
use crate::audit::newest::{own_key, with_newest};
use crate::audit::witness::Request;
use crate::audit::{AuditError, Folder, KeyUnreadable, WitnessKey, cosigned};
use crate::causes;
use crate::disk::{Disk, RealDisk};
use crate::rules::settings::{Endpoint, WitnessSettings};
use crate::sinks::http::{Connection, Said};

/// Longest time for one request.
const TIMEOUT: Duration = Duration::from_secs(20);
/// What the body of a 409 is that tells the size which was cosigned.
const SIZE: &str = "text/x.tlog.size";

/// Asks one witness. What it needs is read when it asks: a token or certificate that was replaced
/// is picked up.
#[derive(Debug, Clone)]
pub struct Asker {
    endpoint: Endpoint,
    key: WitnessKey,
    data_dir: PathBuf,
}

impl Asker {
    /// For the log of a data directory.
    ///
    /// # Errors
    /// The witness's key is none.
    pub fn new(settings: &WitnessSettings, data_dir: &Path) -> Result<Self, KeyUnreadable> {
        Ok(Self {
            endpoint: settings.endpoint.clone(),
            key: WitnessKey::parse(&settings.key)?,
            data_dir: data_dir.to_owned(),
        })
    }

    /// Entries that it has cosigned, as far as is known. Blocks on files.
    ///
    /// # Errors
    /// There is no log, or what is kept of its witnesses is none of its checkpoints.
    pub fn cosigned(&self) -> Result<u64, AuditError> {
        let folder = self.folder();
        cosigned::of(&folder, &own_key(&folder)?, &self.key)
    }

    /// Asks to go on from what it is thought to have cosigned, with the newest state of the log.
    pub async fn ask(&self, old: u64) -> Answer {
        match self.try_to_ask(old).await {
            Ok(answer) | Err(answer) => answer,
        }
    }

    async fn try_to_ask(&self, old: u64) -> Result<Answer, Answer> {
        let asker = self.clone();
        let ready = move || asker.prepare(old);
        let (request, size, connection) = blocking(ready).await??;
        let said = connection.ask(request.to_bytes()).await;
        let said = said.map_err(Answer::Silent)?;
        if said.status != StatusCode::OK {
            return Ok(refusal(&said, size));
        }
        let asker = self.clone();
        blocking(move || asker.keep(&request, &said.body)).await??;
        Ok(Answer::Cosigned(size))
    }

    /// What is asked, of which size, and by which connection.
    fn prepare(&self, old: u64) -> Result<(Request, u64, Connection), Answer> {
        let newest = with_newest(&self.folder(), |log, _| {
            // A log that is shorter asks from its own beginning: the witness tells what it has.
            let old = if old > log.size() { 0 } else { old };
            Ok((log.request(old)?, log.size()))
        });
        let (request, size) = newest.map_err(|why| unread(&why))?;
        let url = format!(
            "{}/add-checkpoint",
            self.endpoint.url.0.trim_end_matches('/')
        );
        let connection = Connection::new(&self.endpoint, &url, TIMEOUT);
        let connection = connection.map_err(|why| unread(&why))?;
        Ok((request, size, connection))
    }

    fn folder(&self) -> Folder {
        Folder::of(&self.data_dir)
    }

    /// Keeps its cosignature; one that is none is a refusal.
    fn keep(&self, request: &Request, answer: &str) -> Result<(), Answer> {
        let log = own_key(&self.folder()).map_err(|why| unread(&why))?;
        let disk = RealDisk::existing(&self.data_dir).map_err(|why| unread(&why))?;
        let disk: Arc<dyn Disk> = Arc::new(disk);
        let kept = cosigned::keep(&disk, &log, request, answer, &self.key);
        kept.map_err(|why| match why {
            AuditError::Malformed { .. } => Answer::Refused(causes::told(&why)),
            _ => unread(&why),
        })
    }
}

/// What a refusal means.
fn refusal(said: &Said, size: u64) -> Answer {
    let is_size = said.content_type.as_deref() == Some(SIZE);
    if said.status == StatusCode::CONFLICT
        && is_size
        && let Ok(known) = said.body.trim().parse()
    {
        return Answer::Other { known, size };
    }
    let status = said.status;
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        Answer::Silent(said.told())
    } else {
        Answer::Refused(said.told())
    }
}

fn unread(why: &dyn std::error::Error) -> Answer {
    Answer::Silent(format!("it was not asked: {}", causes::told(why)))
}

async fn blocking<T: Send + 'static>(
    act: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Answer> {
    let done = tokio::task::spawn_blocking(act).await;
    done.map_err(|broken| Answer::Silent(format!("it was not asked: {broken}")))
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::audit::{Act, Entry, Log, Who, WitnessSigner};
    use crate::rules::settings::{HttpAuth, Secret};
    use crate::sinks::http::receiver::receiver;
    use crate::time::Timestamp;

    /// A log of two entries in a data directory, and a witness at an address.
    fn set_up(dir: &Path, address: std::net::SocketAddr) -> Asker {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::existing(dir).unwrap());
        let mut log = Log::create(disk, "plant.00.tidegate", &Zeroizing::new([1; 32])).unwrap();
        for device in ["pump-1", "pump-2"] {
            let device = device.to_owned();
            let act = Act::DeviceReleased { device };
            log.append(&Entry::new(Timestamp::default(), 1, Who::Gateway, act))
                .unwrap();
        }
        let signer = WitnessSigner::new("shed/witness", &Zeroizing::new([2; 32]));
        let token = dir.join("token");
        std::fs::write(&token, "open-sesame").unwrap();
        let settings = WitnessSettings {
            name: "shed".into(),
            endpoint: Endpoint {
                auth: HttpAuth::Bearer(Secret::File(token)),
                ..Endpoint::plain(&format!("http://{address}/"))
            },
            key: signer.public().text(),
        };
        Asker::new(&settings, dir).unwrap()
    }

    #[tokio::test]
    async fn what_a_witness_answers_is_told_apart_and_nothing_of_it_is_kept() {
        let replies = [
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nnonsense\n",
            "HTTP/1.1 401 Unauthorized\r\nContent-Length: 11\r\n\r\nopen-sesame",
            "HTTP/1.1 404 Not Found\r\nContent-Length: 27\r\n\r\n{\"error\":\"it is not known\"}",
            "HTTP/1.1 409 Conflict\r\nContent-Type: text/x.tlog.size\r\nContent-Length: 2\r\n\r\n1\n",
            "HTTP/1.1 409 Conflict\r\nContent-Length: 2\r\n\r\n1\n",
            "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
            "",
        ];
        let dir = tempfile::tempdir().unwrap();
        let (address, mut seen) = receiver(replies.map(Some).to_vec()).await;
        let asker = set_up(dir.path(), address);
        let mut answers = Vec::new();
        for _ in replies {
            answers.push(asker.ask(0).await);
        }
        let request = seen.recv().await.unwrap();
        assert!(request.head.starts_with("POST /add-checkpoint HTTP/1.1"));
        assert_eq!(request.header("authorization"), Some("Bearer open-sesame"));
        assert!(request.body.starts_with(b"old 0\n"));
        let refused = |at: usize, part: &str| match &answers[at] {
            Answer::Refused(why) => assert!(why.contains(part), "{at}: {why}"),
            other => panic!("{at}: {other:?}"),
        };
        refused(0, "the witness' answer");
        refused(1, "HTTP 401 Unauthorized: ***********");
        refused(2, "HTTP 404 Not Found: it is not known");
        assert_eq!(answers[3], Answer::Other { known: 1, size: 2 });
        refused(4, "HTTP 409");
        for silent in [5, 6] {
            assert!(matches!(answers[silent], Answer::Silent(_)), "{answers:?}");
        }
        assert_eq!(asker.cosigned().unwrap(), 0);
    }

    #[tokio::test]
    async fn without_a_log_or_a_secret_nobody_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        let (address, mut seen) = receiver(Vec::new()).await;
        let asker = set_up(dir.path(), address);
        std::fs::remove_file(dir.path().join("token")).unwrap();
        let answer = asker.ask(0).await;
        assert!(
            matches!(&answer, Answer::Silent(why) if why.contains("a secret is missing")),
            "{answer:?}"
        );
        std::fs::remove_dir_all(dir.path().join("audit")).unwrap();
        let answer = asker.ask(0).await;
        assert!(
            matches!(&answer, Answer::Silent(why) if why.contains("it was not asked")),
            "{answer:?}"
        );
        assert!(seen.try_recv().is_err());
    }
}
