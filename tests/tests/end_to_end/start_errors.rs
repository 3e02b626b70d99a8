//! Starts that fail say why and what to try, and touch nothing; what is no failure is waited for,
//! and said.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tidegate_shared::frame::crc32c;
use tidegate_tests::ports;
use tidegate_tests::process::{Finished, Process};
use tidegate_tests::report::say;
use tidegate_tests::rig::{command, tidegate};
use tidegate_tests::simulation::Simulation;
use tidegate_tests::wall::wait_until;

use crate::full_disk::Mount;
use crate::passage;

/// A configuration with a broker inside, on a port.
fn configuration(port: u16) -> String {
    format!(
        "[gateway]\nsite = \"pump-house\"\ndata_dir = \"data\"\n\
         [mqtt]\nembedded = {{ listen = \"127.0.0.1:{port}\" }}\n\
         [sink.local]\ntype = \"file\"\npath = \"records.ndjson\"\n\
         [[rule]]\nname = \"all\"\nmatch = {{ sensor = \"*\" }}\nforward = [\"local\"]\n"
    )
}

/// A folder with that configuration, changed by `edit`.
fn folder(port: u16, edit: impl Fn(String) -> String) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder for temporary files");
    let text = edit(configuration(port));
    fs::write(dir.path().join("tidegate.toml"), text).expect("the folder takes a file");
    dir
}

/// The error that a start ends with, behind its log.
fn error(dir: &Path, code: i32) -> String {
    let finished: Finished = command(dir, &["run"]);
    let text = format!("{}{}", finished.out, finished.err);
    assert_eq!(finished.status.code(), Some(code), "{text}");
    let at = text.find("error: ");
    text[at.unwrap_or_else(|| panic!("no error in {text}"))..].to_owned()
}

/// A gateway that runs, once its log says so.
fn started(dir: &Path) -> Process {
    let mut command = Command::new(tidegate());
    command.current_dir(dir).arg("run");
    let gateway = Process::start("gateway", &mut command, dir);
    wait_until("a start", Duration::from_secs(20), || {
        gateway.err_text().contains("the gateway runs")
    });
    gateway
}

#[test]
fn without_a_configuration_init_is_named() {
    let dir = tempfile::tempdir().expect("a folder for temporary files");
    assert_eq!(
        error(dir.path(), 2),
        "error: the configuration tidegate.toml cannot be read\n  \
         because: No such file or directory (os error 2)\n  \
         try: tidegate init writes one; --config FILE names one that is elsewhere\n"
    );
}

#[test]
fn a_port_in_use_is_named_with_the_key_that_changes_it() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("the system has a port");
    let port = taken.local_addr().expect("it has one").port();
    let dir = folder(port, |text| text);
    assert_eq!(
        error(dir.path(), 1).replace(&port.to_string(), "PORT"),
        "error: run failed\n  \
         because: the embedded broker cannot listen on 127.0.0.1:PORT; nothing was received yet, \
         nothing is lost\n  \
         because: Address already in use (os error 98)\n  \
         try: stop what listens there (ss -ltnp names it), or set another port in \
         mqtt.embedded.listen\n"
    );
}

#[test]
fn an_address_of_another_machine_is_named() {
    let dir = folder(ports::free(), |text| text.replace("127.0.0.1", "192.0.2.1"));
    let told = error(dir.path(), 1);
    assert!(
        told.contains("because: Cannot assign requested address"),
        "{told}"
    );
    assert!(
        told.contains("\n  try: set an address of this machine"),
        "{told}"
    );
}

#[test]
fn a_data_directory_in_use_names_its_gateway() {
    let dir = folder(ports::free(), |text| text);
    let mut gateway = started(dir.path());
    assert_eq!(
        error(dir.path(), 1),
        format!(
            "error: run failed\n  \
             because: data is in use by process {}: nothing was changed\n  \
             try: stop that gateway first, or give this one a gateway.data_dir of its own\n",
            gateway.id()
        )
    );
    assert!(gateway.stop(Duration::from_secs(20)).success());
}

#[test]
fn a_newer_data_directory_is_left_alone() {
    let dir = folder(ports::free(), |text| text);
    fs::create_dir(dir.path().join("data")).expect("the folder takes another one");
    let words = "9 tidegate 9.0.0";
    let format = format!("{words} #{:08x}\n", crc32c(words.as_bytes()));
    fs::write(dir.path().join("data/format"), &format).expect("the folder takes a file");
    let told = error(dir.path(), 1);
    assert!(
        told.contains("data has format 9, made by tidegate 9.0.0"),
        "{told}"
    );
    assert!(
        told.contains("\n  try: install the version that made it"),
        "{told}"
    );
    let after = fs::read_to_string(dir.path().join("data/format"));
    assert_eq!(after.expect("it is there"), format);
}

#[test]
fn a_file_in_the_place_of_the_data_directory_is_named() {
    let dir = folder(ports::free(), |text| text);
    fs::write(dir.path().join("data"), "mine").expect("the folder takes a file");
    assert_eq!(
        error(dir.path(), 1),
        "error: run failed\n  \
         because: data could not be used: nothing was changed\n  \
         because: File exists (os error 17)\n  \
         try: a file stands where a folder is needed: move it, or name another place\n"
    );
}

/// Another user, since root is refused nothing.
#[test]
fn a_folder_of_another_user_is_named() {
    let dir = folder(ports::free(), |text| text);
    let opened = Command::new("chmod").arg("755").arg(dir.path()).status();
    assert!(opened.is_ok_and(|status| status.success()));
    let mut other = Command::new("setpriv");
    other
        .current_dir(dir.path())
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .arg(tidegate())
        .arg("run");
    let Ok(done) = other.output() else {
        say("a folder of another user is left out: there is no setpriv");
        return;
    };
    let text = String::from_utf8_lossy(&done.stderr);
    if text.contains("setpriv: ") {
        say(&format!(
            "a folder of another user is left out: {}",
            text.trim()
        ));
        return;
    }
    assert_eq!(done.status.code(), Some(1), "{text}");
    assert!(
        text.contains("because: Permission denied (os error 13)"),
        "{text}"
    );
    assert!(
        text.contains("try: run as the user that it belongs to"),
        "{text}"
    );
}

#[test]
fn a_full_disk_at_the_start_is_named() {
    let dir = folder(ports::free(), |text| text);
    let data = dir.path().join("data");
    let mounted = match Mount::new(&data, "4k") {
        Ok(mounted) => mounted,
        Err(why) => {
            say(&format!("a full disk at the start is left out: {why}"));
            return;
        }
    };
    let text = error(dir.path(), 1);
    drop(mounted);
    assert!(text.contains("because: No space left on device"), "{text}");
    assert!(
        text.contains("\n  try: free some space on that disk"),
        "{text}"
    );
}

#[test]
fn a_broker_that_is_away_is_waited_for() {
    let port = ports::free();
    let dir = folder(port, |text| {
        text.replace(
            &format!("embedded = {{ listen = \"127.0.0.1:{port}\" }}"),
            &format!("url = \"mqtt://127.0.0.1:{port}\""),
        )
    });
    let mut gateway = started(dir.path());
    wait_until("word of the broker", Duration::from_secs(20), || {
        let log = gateway.err_text();
        let line = log
            .lines()
            .find(|line| line.contains("cannot reach the broker"));
        line.is_some_and(|line| line.contains("WARN") && line.contains(&port.to_string()))
    });
    assert!(gateway.stop(Duration::from_secs(20)).success());
}

#[test]
fn a_sink_that_cannot_write_its_file_is_told_and_its_records_wait() {
    let port = ports::free();
    let dir = folder(port, |text| {
        text.replace("records.ndjson", "tidegate.toml/records.ndjson")
    });
    let mut gateway = started(dir.path());
    let mut plant = Simulation::plant("pump-1", port, 1, 60).start(dir.path());
    passage::wait_simulated(&mut plant, Duration::from_mins(1));
    wait_until("word of the sink", Duration::from_secs(20), || {
        let log = gateway.err_text();
        let mut lines = log.lines().filter(|line| line.contains("sink=\"local\""));
        lines.any(|line| {
            line.contains("tidegate.toml/records.ndjson") && line.contains("records wait")
        })
    });
    assert!(gateway.stop(Duration::from_secs(20)).success());
}
