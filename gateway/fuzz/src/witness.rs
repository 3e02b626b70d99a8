//! What a witness is asked: bodies of `POST /add-checkpoint`, as whoever reaches the door says them.
//!
//! The bytes are requests to one witness, one behind the other, with the byte 0xff between them
//! (which no text has). It watches one log, of which there are two histories that part behind their
//! second entry: both are signed by the log's key.
//!
//! No bytes make it fail, and all that it cosigns is one history: it grows, and no size has two
//! roots.

use std::sync::{Arc, LazyLock};

use tidegate_gateway::audit::witness::{Request, Witness, WitnessError};
use tidegate_gateway::audit::{Act, Entry, Log, Signed, Who, WitnessSigner};
use tidegate_gateway::disk::{Disk, FaultDisk};
use tidegate_gateway::time::Timestamp;
use zeroize::Zeroizing;

const ORIGIN: &str = "house.0000000000000007.tidegate";
/// UTC in seconds.
const NOW_S: u64 = 1_772_368_200;
/// Between two requests.
const BETWEEN: u8 = 0xff;
/// Most requests that are taken of the bytes.
const REQUESTS_MAX: usize = 8;
/// Entries that both histories begin with.
const SHARED: u64 = 2;

/// A log as it grows: a request for each size, from each size before and from none.
struct History {
    log: Log,
    asked: Vec<Request>,
}

static HISTORIES: LazyLock<[History; 2]> = LazyLock::new(|| [history("pump"), history("tank")]);

fn history(device: &str) -> History {
    let disk: Arc<dyn Disk> = Arc::new(FaultDisk::new());
    let seed = Zeroizing::new([1; 32]);
    let mut log = Log::create(disk, ORIGIN, &seed).expect("a disk in memory takes it");
    let mut asked = Vec::new();
    for number in 1..=6 {
        let device = if number <= SHARED { "fan" } else { device };
        let device = format!("{device}-{number}");
        let act = Act::DeviceRevoked { device };
        let entry = Entry::new(Timestamp::default(), 1, Who::Gateway, act);
        log.append(&entry).expect("a disk in memory takes it");
        let request = |old| {
            let snapshot = log.snapshot().expect("it is there");
            snapshot.request(old).expect("it had that size")
        };
        asked.extend((0..=number).map(request));
    }
    History { log, asked }
}

fn signer() -> WitnessSigner {
    WitnessSigner::new("shed/witness", &Zeroizing::new([9; 32]))
}

/// Feeds bytes.
pub fn feed(bytes: &[u8]) {
    let disk: Arc<dyn Disk> = Arc::new(FaultDisk::new());
    let mut witness = Witness::new(disk, signer());
    let [history, _] = &*HISTORIES;
    let key = history.log.key();
    witness.watch(key).expect("a disk in memory takes it");
    let mut newest: Option<Signed> = None;
    let requests = bytes.split(|byte| *byte == BETWEEN);
    for request in requests.take(REQUESTS_MAX) {
        let line = match witness.add_checkpoint(request, NOW_S) {
            Ok(line) => line,
            Err(WitnessError::Refused(refusal)) => {
                assert!((400..500).contains(&refusal.status()), "{refusal}");
                continue;
            }
            Err(WitnessError::Kept(why)) => panic!("{why}"),
        };
        let asked = Request::parse(request).expect("what is cosigned is a request");
        let whole = [&asked.checkpoint[..], line.as_bytes()].concat();
        let signed = Signed::read(&whole, key, &[signer().public()]);
        let signed = signed.expect("what is cosigned is signed by both");
        assert_eq!(signed.cosignatures().len(), 1);
        if let Some(before) = newest {
            assert!(before.size() <= signed.size(), "it shrinks");
            assert!(before.size() < signed.size() || before.root() == signed.root());
            assert!(is_one_history(&before, &signed), "two histories");
        }
        newest = Some(signed);
    }
}

/// Whether one of the histories has been both.
fn is_one_history(one: &Signed, other: &Signed) -> bool {
    HISTORIES.iter().any(|history| {
        [one, other].iter().all(|signed| {
            let is_it = |request: &Request| {
                let asked = Signed::read(&request.checkpoint, history.log.key(), &[]);
                asked.is_ok_and(|asked| {
                    (asked.size(), asked.root()) == (signed.size(), signed.root())
                })
            };
            history.asked.iter().any(is_it)
        })
    })
}

/// A log that grows by one and by several entries, one that is asked again, and both histories.
pub fn seeds() -> Vec<Vec<u8>> {
    let [one, other] = &*HISTORIES;
    let request = |history: &History, old: u64, size: u64| -> Vec<u8> {
        let found = history.asked.iter().find(|request| {
            let asked = Signed::read(&request.checkpoint, history.log.key(), &[]);
            request.old_size == old && asked.is_ok_and(|asked| asked.size() == size)
        });
        found.expect("it has grown by each step").to_bytes()
    };
    let steps: [&[(&History, u64, u64)]; 10] = [
        &[(one, 0, 1)],
        &[(one, 0, 1), (one, 1, 2), (one, 2, 3), (one, 3, 6)],
        &[(one, 0, 6), (one, 6, 6)],
        &[(one, 0, 2), (other, 2, 5)],
        &[(one, 0, 3), (other, 3, 3)],
        &[(one, 0, 3), (other, 3, 6)],
        &[(one, 0, 5), (one, 2, 6)],
        &[(one, 0, 4), (one, 0, 2)],
        &[(other, 0, 4), (one, 4, 5), (other, 4, 5)],
        &[(other, 0, 6)],
    ];
    let said = steps.iter().map(|steps| {
        let said: Vec<Vec<u8>> = steps
            .iter()
            .map(|(history, old, size)| request(history, *old, *size))
            .collect();
        said.join(&BETWEEN)
    });
    said.collect()
}
