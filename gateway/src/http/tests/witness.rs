//! The witness over HTTP: what tlog-witness says is answered, and to whom.

use std::sync::Arc;

use super::*;
use crate::audit::{Act, Entry, Log, LogKey, Who, WitnessKey, WitnessSigner, witness};
use crate::disk::{Disk, FaultDisk, RealDisk};
use crate::http::Cosigner;
use crate::rules::settings::Secret;
use crate::time::Timestamp;

/// A log that is watched, and one that was rewritten from its second entry on.
struct Logs {
    honest: Log,
    rewritten: Log,
}

fn revoked(device: &str) -> Entry {
    let device = device.to_owned();
    let act = Act::DeviceRevoked { device };
    Entry::new(Timestamp::default(), 1, Who::Gateway, act)
}

fn log() -> Log {
    let disk: Arc<dyn Disk> = Arc::new(FaultDisk::new());
    let seed = zeroize::Zeroizing::new([1; 32]);
    let mut log = Log::create(disk, "house.0000000000000007.tidegate", &seed).unwrap();
    log.append(&revoked("pump-1")).unwrap();
    log
}

impl Logs {
    fn new() -> Self {
        let (mut honest, mut rewritten) = (log(), log());
        honest.append(&revoked("pump-2")).unwrap();
        rewritten.append(&revoked("pump-3")).unwrap();
        Self { honest, rewritten }
    }
}

fn ask(log: &Log, old: u64) -> Vec<u8> {
    log.for_witness(old).unwrap().to_bytes()
}

/// A server that is a witness of a log, if it is told to watch it.
async fn cosigning(
    settings: ServeSettings,
    watched: Option<&LogKey>,
) -> (SocketAddr, JoinHandle<()>, tempfile::TempDir, WitnessKey) {
    let folder = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(folder.path()).unwrap());
    let signer = || WitnessSigner::new("shed/witness", &zeroize::Zeroizing::new([9; 32]));
    if let Some(key) = watched {
        let witness = witness::Witness::new(Arc::clone(&disk), signer());
        witness.watch(key).unwrap();
    }
    let clock: Arc<dyn crate::time::Clock> = Arc::new(SystemClock::new());
    let cosigner = Cosigner::new(disk, folder.path(), signer(), Arc::clone(&clock));
    let mut settings = settings;
    settings.listen.set_port(0);
    let door = Door::open(&settings).await.unwrap().with_witness(cosigner);
    let at = door.local_addr();
    let task = tokio::spawn(door.serve(MadeUp::new(), clock));
    (at, task, folder, signer().public())
}

async fn post(at: SocketAddr, more: &str, body: &[u8]) -> Heard {
    let length = format!("Content-Length: {}\r\n{more}", body.len());
    let mut bytes = request("POST", "/add-checkpoint", &length).into_bytes();
    bytes.extend(body);
    let mut stream = TcpStream::connect(at).await.unwrap();
    // A server that has refused already may have closed its end.
    let _ = stream.write_all(&bytes).await;
    Heard::read(&mut stream).await
}

#[tokio::test]
async fn two_histories_to_one_witness_are_refused_and_told() {
    let mut logs = Logs::new();
    let key = logs.honest.key().clone();
    let settings = ServeSettings::default();
    let (at, task, _folder, by) = cosigning(settings, Some(&key)).await;
    let request = logs.honest.for_witness(0).unwrap();
    let heard = post(at, "", &request.to_bytes()).await;
    assert_eq!(heard.status, 200, "{heard:?}");
    assert_eq!(
        heard.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    let cosigned = logs.honest.take_cosignature(&request, heard.text(), &by);
    cosigned.unwrap();

    // Another size than the witness has: it says which.
    let heard = post(at, "", &ask(&logs.rewritten, 1)).await;
    assert_eq!((heard.status, heard.text()), (409, "2\n"));
    assert_eq!(heard.header("content-type"), Some("text/x.tlog.size"));
    let heard = post(at, "", &ask(&logs.rewritten, 2)).await;
    assert_eq!(heard.status, 409);
    assert!(heard.error().contains("two histories"), "{heard:?}");
    logs.rewritten.append(&revoked("pump-4")).unwrap();
    let heard = post(at, "", &ask(&logs.rewritten, 2)).await;
    assert_eq!(heard.status, 422);
    assert!(heard.error().contains("rewritten"), "{heard:?}");
    // The honest one goes on.
    logs.honest.append(&revoked("pump-4")).unwrap();
    assert_eq!(post(at, "", &ask(&logs.honest, 2)).await.status, 200);
    task.abort();
}

#[tokio::test]
async fn what_is_no_request_to_this_witness_is_refused_by_its_reason() {
    let logs = Logs::new();
    let settings = ServeSettings::default();
    let (at, task, _folder, _) = cosigning(settings.clone(), None).await;
    let whole = ask(&logs.honest, 0);
    let heard = post(at, "", &whole).await;
    assert_eq!(heard.status, 404);
    let said = heard.error();
    assert!(said.contains("tidegate audit witness --watch"), "{said}");
    assert_eq!(post(at, "", b"nonsense").await.status, 400);
    let long = vec![b'a'; witness::REQUEST_BYTES_MAX + 1];
    assert_eq!(post(at, "", &long).await.status, 413);
    task.abort();

    let (at, task, _folder, _) = cosigning(settings, Some(logs.honest.key())).await;
    let mut changed = whole.clone();
    let size = changed
        .windows(3)
        .position(|three| three == b"\n2\n")
        .unwrap();
    changed[size + 1] = b'3';
    assert_eq!(post(at, "", &changed).await.status, 403);
    // Nothing else is taken, here or by another name.
    let other = request("POST", "/api/v1/overview", "");
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(other.as_bytes()).await.unwrap();
    assert_eq!(Heard::read(&mut stream).await.status, 405);
    let foreign = format!(
        "POST /add-checkpoint HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        whole.len()
    );
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(foreign.as_bytes()).await.unwrap();
    assert_eq!(Heard::read(&mut stream).await.status, 421);
    task.abort();
}

#[tokio::test]
async fn a_witness_behind_a_secret_cosigns_for_who_shows_it() {
    let logs = Logs::new();
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "sesame-sesame-sesame").unwrap();
    let settings = ServeSettings {
        token: Some(Secret::File(token)),
        ..ServeSettings::default()
    };
    let (at, task, _folder, _) = cosigning(settings, Some(logs.honest.key())).await;
    let whole = ask(&logs.honest, 0);
    assert_eq!(post(at, "", &whole).await.status, 401);
    let shown = "Authorization: Bearer sesame-sesame-sesame\r\n";
    assert_eq!(post(at, shown, &whole).await.status, 200);
    task.abort();
}

#[tokio::test]
async fn who_is_no_witness_takes_no_request_to_one() {
    let served = serve_plain().await;
    let heard = post(served.at, "", b"old 0\n\n").await;
    assert_eq!(heard.status, 405);
    let said = heard.error();
    assert!(said.contains("no witness"), "{said}");
    assert!(said.contains("`witness = true` under [http]"), "{said}");
}
