//! What a service manager hears, at a socket of its own and from a pulse by hand.

use std::ffi::OsString;
use std::path::Path;
use std::sync::atomic::AtomicUsize;

use super::pulse::STORE_SILENT_MAX_US;
use super::*;
use crate::status::{About, Devices, Link, State};
use crate::time::{SystemClock, Timestamp};

/// Long enough for a message, on a busy machine too.
const SOON: Duration = Duration::from_secs(20);

fn status(store_answers: bool, states: Vec<State>) -> Status {
    Status {
        gateway: About {
            site: "plant".into(),
            ..About::default()
        },
        works_as_usual: states.is_empty(),
        states,
        sinks: std::collections::BTreeMap::new(),
        witnesses: std::collections::BTreeMap::new(),
        devices: Devices {
            admitted: 3,
            turns: 0,
            paused: 0,
            budget_bytes: 0,
            pauses: 0,
            frames_held: store_answers.then_some(0),
        },
        link: Link {
            up: true,
            counters: crate::mqtt::LinkCounters::default(),
        },
        refused: None,
        control: None,
        http: None,
        configuration: None,
        budget: None,
        limits: Vec::new(),
    }
}

fn at(mono_us: u64) -> Timestamp {
    Timestamp {
        mono_us,
        ..Timestamp::default()
    }
}

#[test]
fn a_sign_of_life_is_given_while_the_core_answers() {
    let mut pulse = Pulse::new(at(0));
    let usual = status(true, Vec::new());
    assert_eq!(
        pulse.look(at(1), Some(&usual)),
        ["STATUS=plant: works as usual; 3 devices", "WATCHDOG=1"]
    );
    assert_eq!(pulse.look(at(2), Some(&usual)), ["WATCHDOG=1"]);
    assert_eq!(pulse.look(at(3), None), ["STATUS=the core does not answer"]);
    assert!(pulse.look(at(4), None).is_empty());
    assert_eq!(
        pulse.look(at(5), Some(&usual)),
        ["STATUS=plant: works as usual; 3 devices", "WATCHDOG=1"]
    );
}

#[test]
fn a_store_held_up_by_its_disk_is_waited_for_and_a_hung_one_is_not() {
    let mut pulse = Pulse::new(at(0));
    let held_up = status(false, Vec::new());
    let told = pulse.look(at(STORE_SILENT_MAX_US), Some(&held_up));
    assert_eq!(
        told,
        [
            "STATUS=plant: works as usual; 3 devices; the store is held up and does not answer",
            "WATCHDOG=1"
        ]
    );
    assert!(
        pulse
            .look(at(STORE_SILENT_MAX_US + 1), Some(&held_up))
            .is_empty()
    );
    let told = pulse.look(at(STORE_SILENT_MAX_US + 2), Some(&status(true, Vec::new())));
    assert!(told.contains(&"WATCHDOG=1".to_owned()), "{told:?}");
    let told = pulse.look(at(2 * STORE_SILENT_MAX_US), Some(&held_up));
    assert!(told.contains(&"WATCHDOG=1".to_owned()), "{told:?}");
}

#[test]
fn the_first_state_is_told_in_one_line() {
    let state = |name: &str, fault: Option<&str>, meaning: &str| State {
        name: name.into(),
        fault: fault.map(Into::into),
        meaning: meaning.into(),
        ..State::default()
    };
    let states = vec![
        state("log-failing", Some("disk-full"), "nothing\nis acked"),
        state("unsubscribed", None, "the broker is away"),
    ];
    let told = Pulse::new(at(0)).look(at(0), Some(&status(true, states)));
    assert_eq!(
        told[0],
        "STATUS=plant: log-failing (disk-full): nothing is acked (and 1 more); 3 devices"
    );
}

#[test]
fn the_watchdog_of_another_process_is_none_of_ours() {
    let text = OsString::from;
    let second = Some(Duration::from_secs(1));
    let us = text("1000000");
    assert_eq!(watchdog(Some(&us), None, 7), second);
    assert_eq!(watchdog(Some(&us), Some(&text("7")), 7), second);
    assert_eq!(watchdog(Some(&us), Some(&text("8")), 7), None);
    assert_eq!(watchdog(Some(&text("0")), None, 7), None);
    assert_eq!(watchdog(Some(&text("soon")), None, 7), None);
    assert_eq!(watchdog(None, None, 7), None);
}

/// A service manager's end of the socket.
struct Manager {
    socket: UnixDatagram,
}

impl Manager {
    fn listen(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        Self { socket }
    }

    fn hear(&self) -> String {
        let mut buffer = [0; 4_096];
        let length = self.socket.recv(&mut buffer).expect("a message comes");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }
}

#[test]
fn messages_are_lines_as_the_protocol_has_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let manager = Manager::listen(&path);
    let supervisor = Supervisor::at(path.as_os_str(), None).unwrap();
    supervisor.ready();
    assert_eq!(manager.hear(), "READY=1");
    let before = kernel_mono_us();
    supervisor.reloading();
    let told = manager.hear();
    let moment = told.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
    let moment: u64 = moment.parse().unwrap();
    assert!((before..=kernel_mono_us()).contains(&moment), "{told}");
    supervisor.stopping();
    assert!(manager.hear().starts_with("STOPPING=1\nSTATUS="));
    // A manager that is gone holds nothing up.
    drop(manager);
    supervisor.ready();
    Supervisor::default().ready();
}

#[test]
fn an_abstract_socket_is_found_by_its_name() {
    let name = format!("tidegate-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let manager = Manager {
        socket: UnixDatagram::bind_addr(&address).unwrap(),
    };
    manager.socket.set_read_timeout(Some(SOON)).unwrap();
    let supervisor = Supervisor::at(OsStr::new(&format!("@{name}")), None).unwrap();
    supervisor.ready();
    assert_eq!(manager.hear(), "READY=1");
}

#[tokio::test]
async fn a_core_that_hangs_gives_no_sign_until_it_answers_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let manager = Manager::listen(&path);
    let watchdog = Some(Duration::from_millis(60));
    let supervisor = Supervisor::at(path.as_os_str(), watchdog).unwrap();
    let looks = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&looks);
    let core = async move || {
        // Hangs at its first three looks.
        if counted.fetch_add(1, Ordering::Relaxed) < 3 {
            std::future::pending::<()>().await;
        }
        Some(status(true, Vec::new()))
    };
    let clock = Arc::new(SystemClock::new());
    let watching = tokio::spawn(supervisor.clone().watch(core, clock));
    let listening = tokio::task::spawn_blocking(move || {
        assert_eq!(manager.hear(), "STATUS=the core does not answer");
        let told = manager.hear();
        assert!(looks.load(Ordering::Relaxed) > 3, "{told}");
        assert_eq!(told, "STATUS=plant: works as usual; 3 devices\nWATCHDOG=1");
        assert_eq!(manager.hear(), "WATCHDOG=1");
        // It stops: the core answers no more, the manager's time for a stop counts.
        supervisor.stopping();
        while !manager.hear().starts_with("STOPPING=1") {}
        assert_eq!(manager.hear(), "WATCHDOG=1");
    });
    listening.await.unwrap();
    watching.abort();
}
