//! The commands on a data directory, from the first entry to a verified copy.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use clap::Parser;
use tempfile::TempDir;
use zeroize::Zeroizing;

use super::*;
use crate::audit::{Act, Diff, Entry, Log, Who, origin_of};
use crate::checkpoint::RULE;
use crate::disk::{Disk, RealDisk};
use crate::identity;
use crate::record::{Record, example, to_json};
use crate::time::Timestamp;

/// A gateway's configuration and data directory, with a log of some acts.
struct Site {
    dir: TempDir,
    log: Log,
}

impl Site {
    fn new(name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let config = format!(
            "[gateway]\nsite = \"{name}\"\ndata_dir = {:?}\n[mqtt]\nurl = \"mqtt://127.0.0.1\"\n\
             [sink.cloud]\ntype = \"file\"\npath = \"records\"\n\
             [security]\nkey = {{ file = {:?} }}\n",
            data.display().to_string(),
            dir.path().join("key").display().to_string()
        );
        fs::write(dir.path().join("tidegate.toml"), config).unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(&data).unwrap());
        identity::begin(&disk, 7).unwrap();
        let seed = Zeroizing::new([name.len() as u8; 32]);
        let mut log = Log::create(disk, &origin_of(name, 7), &seed).unwrap();
        let acts = [
            (
                Who::Control { uid: Some(1000) },
                Act::DeviceEnrolled {
                    device: "pump-1".into(),
                    key_id: 1,
                    fingerprint: "0c0ffee0".into(),
                },
            ),
            (
                Who::Configuration,
                Act::RulesChanged {
                    from: "aa".into(),
                    to: "bb".into(),
                    diff: Diff::new("-window = \"1m\"\n+window = \"5m\"\n"),
                },
            ),
            (
                Who::Gateway,
                Act::DeviceRevoked {
                    device: "pump-2".into(),
                },
            ),
        ];
        for (at, (who, act)) in acts.into_iter().enumerate() {
            let now = Timestamp {
                mono_us: 0,
                wall_us: 1_700_000_000_000_000 + at as i64 * 1_000_000,
                wall_trusted: at > 0,
            };
            log.append(&Entry::new(now, 1, who, act)).unwrap();
        }
        for (name, digits) in [("seed", "5a"), ("other-seed", "5b"), ("key", "07")] {
            let path = dir.path().join(name);
            fs::write(&path, format!("{}\n", digits.repeat(32))).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        Self { dir, log }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// Runs a command; a name with an @ is a file of this site. Gives what it would print.
    fn run(&self, line: &str) -> Result<String, Failure> {
        let mut words: Vec<String> = ["tidegate", "audit"].map(str::to_owned).into();
        words.extend(line.split(' ').map(|word| match word.strip_prefix('@') {
            Some(name) => self.path(name),
            None => word.to_owned(),
        }));
        if !line.starts_with("verify") {
            words.extend(["--config".to_owned(), self.path("tidegate.toml")]);
        }
        let parsed = crate::cli::Cli::try_parse_from(words).unwrap();
        let crate::cli::Command::Audit(command) = parsed.command else {
            panic!("{line}");
        };
        match &command {
            AuditCommand::Show(args) => show::lines(args),
            AuditCommand::Verify(args) => verify::verdict(args),
            AuditCommand::Witness(args) => witness::answer(args),
            other => run(other).map(|()| String::new()),
        }
    }
}

fn wrong(ran: Result<String, Failure>) -> String {
    ran.unwrap_err().told()
}

#[test]
fn entries_are_shown_in_words_and_as_they_are() {
    let site = Site::new("house");
    assert_eq!(
        site.run("show").unwrap(),
        "     0  2023-11-14T22:13:20Z (clock not trusted)  user 1000 enrolled pump-1 with key 1, 0c0ffee0
     1  2023-11-14T22:13:21Z  the configuration changed the rules from aa to bb
          -window = \"1m\"
          +window = \"5m\"
     2  2023-11-14T22:13:22Z  the gateway revoked pump-2
entries in the audit log: 3
"
    );
    assert_eq!(
        site.run("show --device pump-2 --json").unwrap(),
        "{\"index\":2,\"entry\":{\"v\":1,\"at_us\":1700000002000000,\"clock_trusted\":true,\
         \"start\":1,\"who\":{\"by\":\"gateway\"},\
         \"act\":{\"kind\":\"device-revoked\",\"device\":\"pump-2\"}}}\n"
    );
    let last = site.run("show --last 1").unwrap();
    assert!(last.starts_with("     2  "), "{last}");
    let none = site.run("show --device pump-9").unwrap();
    assert_eq!(none, "entries in the audit log: 3\n");
}

#[test]
fn a_proof_that_was_carried_away_is_verified_with_the_key_alone() {
    let site = Site::new("house");
    site.run("prove 2 --out @proof --entry @entry").unwrap();
    let key = site.log.key().text().to_owned();
    let told = site
        .run(&format!("verify --proof @proof --entry @entry --key {key}"))
        .unwrap();
    assert_eq!(
        told,
        "entry 2 is in the audit log of house.0000000000000007.tidegate, which has 3 entries\n  \
         2023-11-14T22:13:22Z  the gateway revoked pump-2\n"
    );
    let entry = fs::read_to_string(site.path("entry")).unwrap();
    fs::write(site.path("entry"), entry.replace("pump-2", "pump-3")).unwrap();
    let told = wrong(site.run(&format!("verify --proof @proof --entry @entry --key {key}")));
    assert!(told.contains("is not entry 2 of the log"), "{told}");
    let told = wrong(site.run("prove 3 --out @other"));
    assert!(
        told.contains("has 3 entries, which does not reach 4"),
        "{told}"
    );
    let told = wrong(site.run("prove 1 --out @proof"));
    assert!(told.contains("cannot be written"), "{told}");
}

#[test]
fn a_copy_is_verified_and_what_is_wrong_with_one_is_told() {
    let site = Site::new("house");
    let key = site.log.key().text().to_owned();
    fs::write(site.path("key"), format!("{key}\n")).unwrap();
    let told = site.run("verify @data --key @key").unwrap();
    assert!(
        told.starts_with(
            "the audit log of house.0000000000000007.tidegate verifies\n  entries: 3, in 2 tiles\n  \
             from 2023-11-14T22:13:20Z to 2023-11-14T22:13:22Z\n  root hash: "
        ),
        "{told}"
    );
    let json = site.run("verify @data/audit --key @key --json").unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["entries"], 3);
    let other = Site::new("shed");
    let told = wrong(site.run(&format!("verify @data --key {}", other.log.key().text())));
    assert!(told.contains("this is another log"), "{told}");
    let bundle = site.path("data/audit/tile/entries/000.p/3");
    let whole = fs::read(&bundle).unwrap();
    let at = whole.windows(6).position(|six| six == b"pump-2").unwrap();
    let mut changed = whole.clone();
    changed[at + 5] = b'3';
    fs::write(&bundle, changed).unwrap();
    let failure = site.run("verify @data --key @key").unwrap_err();
    let told = failure.told();
    assert!(
        told.contains("entry 2 in tile/entries/000.p/3 is not the one"),
        "{told}"
    );
    assert!(told.contains("try: keep this copy"), "{told}");
    let told = wrong(site.run("show"));
    assert!(
        told.contains("entry 2 is not the one that was logged"),
        "{told}"
    );
    let told = wrong(site.run("verify @data --key nonsense"));
    assert!(
        told.contains("`nonsense` is not the key of an audit log"),
        "{told}"
    );
    let told = wrong(site.run("verify @nowhere --key @key"));
    assert!(told.contains("there is no data directory"), "{told}");
}

/// The newest checkpoint of a log, as a sink receives it.
fn upstream(log: &Log) -> String {
    let signed = log.snapshot().unwrap().into_signed();
    let note = String::from_utf8(signed.to_bytes()).unwrap();
    let record = Record {
        rule: RULE.into(),
        note: Some(note),
        ..example(1)
    };
    format!("{}\n", to_json(&record))
}

#[test]
fn what_went_upstream_is_held_against_the_log() {
    let act = |device: &str| {
        let device = device.to_owned();
        Entry::new(
            Timestamp::default(),
            1,
            Who::Gateway,
            Act::DeviceRevoked { device },
        )
    };
    let (mut site, mut rewritten) = (Site::new("house"), Site::new("house"));
    let key = site.log.key().text().to_owned();
    let first = upstream(&site.log);
    site.log.append(&act("pump-3")).unwrap();
    let received = format!("{first}{}", upstream(&site.log));
    fs::write(site.path("received"), &received).unwrap();
    let line = format!("verify @data --key {key} --upstream @received");
    let told = site.run(&line).unwrap();
    assert!(
        told.contains("continues every checkpoint upstream: 2, of 3 to 4 entries"),
        "{told}"
    );
    let json = site.run(&format!("{line} --json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["upstream"]["checkpoints"], 2);
    let alone = format!("verify --key {key} --upstream @received");
    let told = site.run(&alone).unwrap();
    assert!(told.contains("signed all 2 checkpoints upstream"), "{told}");

    rewritten.log.append(&act("pump-4")).unwrap();
    fs::write(rewritten.path("received"), &received).unwrap();
    rewritten.run(&format!("verify @data --key {key}")).unwrap();
    let told = wrong(rewritten.run(&line));
    assert!(
        told.contains("of 2 checkpoints that went upstream, 1 are not"),
        "{told}"
    );
    assert!(told.contains("upstream in line 2 has 4 entries"), "{told}");
    let both = received + &upstream(&rewritten.log);
    fs::write(site.path("received"), both).unwrap();
    let told = wrong(site.run(&alone));
    assert!(
        told.contains("in lines 2 and 3 are both of 4 entries"),
        "{told}"
    );
    let told = wrong(site.run(&format!("verify --key {key} --upstream @seed")));
    assert!(
        told.contains("the checkpoint in line 1 is not one of this log"),
        "{told}"
    );
}

#[test]
fn two_gateways_witness_each_other_by_files() {
    let (site, other) = (Site::new("house"), Site::new("shed"));
    let key = site.log.key().text().to_owned();
    fs::write(
        site.path("first"),
        site.log.snapshot().unwrap().signed().to_bytes(),
    )
    .unwrap();
    site.run("request --out @request").unwrap();
    fs::copy(site.path("request"), other.path("request")).unwrap();

    let told = wrong(other.run("witness --request @request"));
    assert!(
        told.contains("does not watch house.0000000000000007.tidegate"),
        "{told}"
    );
    assert!(told.contains("tidegate audit witness --watch"), "{told}");
    let line = other
        .run(&format!("witness --request @request --watch {key}"))
        .unwrap();
    fs::write(site.path("answer"), line).unwrap();
    let by = other.run("witness --show-key").unwrap();
    fs::write(site.path("witness"), &by).unwrap();
    site.run("cosign @answer --request @request --witness @witness")
        .unwrap();

    let verify = format!("verify @data --key {key} --witness @witness --from @first");
    let told = site.run(&verify).unwrap();
    assert!(
        told.contains("cosigned by shed.0000000000000007.tidegate/witness: 3 entries, at "),
        "{told}"
    );
    assert!(
        told.contains("continues the checkpoint seen before: 3 entries"),
        "{told}"
    );
    site.run("prove 0 --out @proof --entry @entry").unwrap();
    let told = site
        .run(&format!(
            "verify --proof @proof --entry @entry --key {key} --witness @witness"
        ))
        .unwrap();
    assert!(told.contains("cosigned by shed.0000000000000007"), "{told}");

    // What the one witness here has cosigned is known.
    site.run("request --out @next").unwrap();
    let asked = fs::read_to_string(site.path("next")).unwrap();
    assert!(asked.starts_with("old 3\n"), "{asked}");
    let told = wrong(site.run("request --old 4"));
    assert!(told.contains("does not reach 4"), "{told}");
    site.run("request --old 1 --out @stale").unwrap();
    fs::copy(site.path("stale"), other.path("stale")).unwrap();
    let told = wrong(other.run("witness --request @stale"));
    assert!(told.contains("ask again with old 3"), "{told}");
}

#[test]
fn a_secret_that_others_may_read_or_that_is_none_is_not_used() {
    let site = Site::new("house");
    let seed = site.path("seed");
    fs::set_permissions(&seed, fs::Permissions::from_mode(0o644)).unwrap();
    let told = wrong(site.run("witness --show-key --seed @seed"));
    assert!(told.contains("others than its owner may read it"), "{told}");
    fs::set_permissions(&seed, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&seed, "5a").unwrap();
    let told = wrong(site.run("witness --show-key --seed @seed"));
    assert!(told.contains("64 hex digits"), "{told}");
    assert!(!told.contains("5a\n"), "{told}");
}

#[test]
fn a_secret_that_stood_in_a_file_is_kept_sealed_and_needs_the_file_no_more() {
    let site = Site::new("house");
    let key = site.run("witness --show-key --seed @seed").unwrap();
    fs::remove_file(site.path("seed")).unwrap();
    assert_eq!(site.run("witness --show-key").unwrap(), key);
    let told = wrong(site.run("witness --show-key --seed @other-seed"));
    assert!(told.contains("the one given is another"), "{told}");
    assert_eq!(site.run("witness --show-key").unwrap(), key);
    let mode = fs::metadata(site.path("data/witness-key"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}
