//! The command line as a person types it.

mod documentation;

use clap::CommandFactory;

use super::*;
use crate::rules::parse;

#[test]
fn the_commands_are_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn settled_spellings_are_taken() {
    for line in [
        "tidegate init",
        "tidegate init pump.toml --site pump-house --broker 0.0.0.0:1883 --yes",
        "tidegate init --sink influxdb --to http://127.0.0.1:8086 --secret env:TOKEN --every 1m",
        "tidegate init --yes --stdout",
        "tidegate run --config pump.toml",
        "tidegate check tidegate.toml",
        "tidegate check tidegate.toml --json",
        "tidegate schema",
        "tidegate test pump.test.toml cold-chain.test.toml --json",
        "tidegate status --config tidegate.toml --json",
        "tidegate sink list --config tidegate.toml --json",
        "tidegate sink dead-letter list cloud --json",
        "tidegate sink dead-letter show cloud 0c0ffee0 --config tidegate.toml",
        "tidegate sink dead-letter resend cloud 0c0ffee0 1d",
        "tidegate sink dead-letter resend cloud --all --json",
        "tidegate sink dead-letter drop cloud --all --yes",
        "tidegate sink resume cloud --json",
        "tidegate sink test cloud --config tidegate.toml --json",
        "tidegate device add pump-1 --broker 192.168.1.10:1883 --out page.bin --json --no-qr",
        "tidegate device add pump-1 --chip STM32F429ZITx --address 0x08108000 --show-key",
        "tidegate device add pump-1 --board nucleo-f429zi --config tidegate.toml",
        "tidegate device list --json --config tidegate.toml",
        "tidegate device show pump-1 --json",
        "tidegate device rotate pump-1 --board qemu-mps2",
        "tidegate device revoke pump-1 --json",
        "tidegate device release pump-1 --json",
        "tidegate device rename pump-1 pump-2 --out page.bin",
        "tidegate device export --out devices.sealed --key-file key --json",
        "tidegate device mosquitto --out /etc/mosquitto/tidegate --json",
        "tidegate device import devices.sealed --key-file key --replace --json",
        "tidegate reload --config tidegate.toml --json",
        "tidegate ledger --config tidegate.toml --json",
        "tidegate ledger --config tidegate.toml",
        "tidegate ledger --since 2h --strict",
        "tidegate ledger --since 2020-02-08T13:30:00Z --json",
        "tidegate replay --config tidegate.toml",
        "tidegate replay --config tidegate.toml --from base --json",
        "tidegate replay --from 10 --to 20",
        "tidegate replay --config new.toml --from 2026-03-01T12:00:00Z --to 2026-03-02T12:00:00Z",
        "tidegate replay --config new.toml --write new.ndjson --json",
        "tidegate replay --as-logged --from base --until 20 --json",
        "tidegate explain pump-1 Pressure 2020-02-08T13:30:07Z --config tidegate.toml --json",
        "tidegate log check --config tidegate.toml --json",
        "tidegate log inspect 12 --config tidegate.toml",
        "tidegate log inspect --from 5 --until 2026-01-31T12:00:00Z --kind frame",
        "tidegate log export --of spool",
        "tidegate log repair --apply --json",
        "tidegate backup store.tar --config tidegate.toml",
        "tidegate restore store.tar --config tidegate.toml --new-identity",
        "tidegate completions bash",
        "tidegate man target/man",
        "tidegate demo",
        "tidegate demo --for 12 --json",
        "tidegate --log json --log-level debug run --config pump.toml",
        "tidegate run --config pump.toml --log json",
    ] {
        let parsed = Cli::try_parse_from(line.split(' '));
        assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
    }
}

#[test]
fn the_page_about_replay_names_every_option() {
    let page = include_str!("../../../docs/replay.md");
    let help = Cli::command();
    let replay = help.find_subcommand("replay").unwrap();
    for option in replay.get_arguments().filter_map(clap::Arg::get_long) {
        let is_common = ["config", "log", "log-level", "help"].contains(&option);
        assert!(
            is_common || page.contains(&format!("`--{option}")),
            "{option}"
        );
    }
}

#[test]
fn slips_are_refused_with_a_hint() {
    for (line, hint) in [
        ("tidegate ruin", "run"),
        ("tidegate run --confg x", "--config"),
        ("tidegate demo --for soon", "seconds"),
        ("tidegate replay --from first", "position"),
        ("tidegate replay --as-logged --write x", "--write"),
        (
            "tidegate explain pump-1 Pressure noon",
            "2026-03-01T12:30:00Z",
        ),
        ("tidegate demo --devices 0", "1..=100"),
        ("tidegate test", "<FILE>"),
        ("tidegate sink dead-letter resend cloud", "ID"),
        ("tidegate device add pump/1", "A-Z a-z 0-9 . _ -"),
        (
            "tidegate device add pump-1 --broker host",
            "192.168.1.10:1883",
        ),
        ("tidegate device add pump-1 --chip RP2040", "--address"),
        (
            "tidegate device add pump-1 --chip RP2040 --address 12",
            "0x08108000",
        ),
        ("tidegate device export", "--out"),
        ("tidegate sink dead-letter drop cloud 1d --all", "--all"),
    ] {
        let why = Cli::try_parse_from(line.split(' '))
            .unwrap_err()
            .to_string();
        assert!(why.contains(hint), "{line}: {why}");
    }
}

#[test]
fn a_failure_tells_its_causes_once_and_what_to_try() {
    let failure = Failure::ConfigUnreadable {
        path: "pump.toml".into(),
        source: std::io::ErrorKind::NotFound.into(),
    };
    assert_eq!(
        failure.told(),
        "error: the configuration pump.toml cannot be read\n  \
         because: entity not found\n  \
         try: tidegate init writes one; --config FILE names one that is elsewhere\n"
    );
    let repeating = Failure::Failed {
        command: "run",
        source: Box::new(Repeating(std::io::Error::other("disk full"))),
    };
    assert_eq!(
        repeating.told(),
        "error: run failed\n  because: the log was not written: disk full\n"
    );
}

#[derive(Debug, thiserror::Error)]
#[error("the log was not written: {0}")]
struct Repeating(#[source] std::io::Error);

#[test]
fn a_right_configuration_is_summed_up_in_a_line() {
    let text = include_str!("../../../examples/tidegate.toml");
    let (settings, _) = parse(text, "tidegate.toml").unwrap();
    assert_eq!(
        check::summary("tidegate.toml", &settings),
        "tidegate.toml is right: site pump-house; 2 sinks (cloud, local); \
         11 rules (pump-temperature, valve-changes, five-minutes, pump-power, level-curve, \
         starts, hundred, snapshot, …)"
    );
}

#[test]
fn advice_fits_what_was_to_be_done() {
    use std::io::ErrorKind;
    let told = |failure: Failure| failure.told();
    let missing = told(Failure::Unreadable {
        path: "nosuch".into(),
        source: ErrorKind::NotFound.into(),
    });
    assert!(
        missing.contains("try: name a file that is there"),
        "{missing}"
    );
    let read_only = told(Failure::ConfigUnwritable {
        path: "tidegate.toml".into(),
        source: ErrorKind::ReadOnlyFilesystem.into(),
    });
    assert!(!read_only.contains("data_dir"), "{read_only}");
    assert!(
        read_only.contains("name a file on another one"),
        "{read_only}"
    );
    let no_folder = told(Failure::Unwritable {
        path: "nosuch/page".into(),
        source: ErrorKind::NotFound.into(),
    });
    assert!(no_folder.contains("create the folder"), "{no_folder}");
    let there = told(Failure::Unwritable {
        path: "page".into(),
        source: ErrorKind::AlreadyExists.into(),
    });
    assert!(there.contains("not there yet"), "{there}");
}

#[test]
fn where_no_gateway_runs_the_data_directory_is_told_from_the_root_on() {
    let here = std::env::current_dir().unwrap().join("nosuch");
    let here = here.display();
    let silent = crate::control::AskError::NotRunning {
        path: "nosuch/control.sock".into(),
    };
    let told = Failure::from(silent).told();
    assert!(told.contains(&format!("data directory {here}:")), "{told}");
    assert!(told.contains("try: tidegate run --config"), "{told}");
    let absent = Failure::NoData {
        path: "./nosuch".into(),
    };
    assert!(
        absent.told().contains(&here.to_string()),
        "{}",
        absent.told()
    );
}
