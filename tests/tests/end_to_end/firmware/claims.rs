//! One page for a batch: emulated boards with a claim and no key enrol by themselves.

use super::*;

const PREFIX: &str = "pump";
/// Boards that the claim is for.
const BOARDS: usize = 2;

/// A gateway's configuration, and `settings.bin` with a claim for so many boards.
fn rig() -> Rig {
    let rig = registering_rig();
    let (broker, boards) = (format!("10.0.2.2:{}", rig.broker.port), BOARDS.to_string());
    let opened = rig.command(&[
        "device",
        "claim",
        "open",
        "--prefix",
        PREFIX,
        "--devices",
        &boards,
        "--for",
        "1h",
        "--broker",
        &broker,
        "--out",
        "settings.bin",
        "--no-qr",
        "--config",
        "tidegate.toml",
    ]);
    assert!(opened.status.success(), "{}{}", opened.out, opened.err);
    rig
}

/// Another board of the batch: nothing is in its store.
fn erase(rig: &Rig) {
    fs::write(rig.path().join("eeprom.bin"), [0xff; 4_096]).expect("the folder takes a file");
}

/// What a board said that it is called.
fn name(board: &Emulator) -> String {
    let log = board.log();
    let name = log
        .split_once("device ")
        .and_then(|(_, rest)| rest.split(',').next());
    name.expect("it says its name").to_owned()
}

/// Both get a key of their own and keep it over a power cut; a third one finds the claim used up.
#[test]
fn boards_with_one_page_get_keys_of_their_own_and_keep_them() {
    let Some(image) = emulator::image() else {
        return;
    };
    let rig = rig();
    let gateway = rig.gateway(&[]);
    let mut names = Vec::new();
    for (number, value) in [(1, 23.625), (2, -5.5)] {
        erase(&rig);
        let mut board = Emulator::start(image, rig.path(), &format!("board-{number}"));
        board.wait_for("key 1 is granted and kept", 0, SOON);
        shows(&rig, &mut board, (value * 1_000.0) as i64, value);
        let stack = deepest_stack(&board.log());
        names.push(name(&board));
        board.cut();

        let mut board = Emulator::start(image, rig.path(), &format!("board-{number}-again"));
        board.wait_for("sealed by key 1", 0, SOON);
        shows(
            &rig,
            &mut board,
            (value * 1_000.0) as i64 + 1_000,
            value + 1.0,
        );
        assert_eq!(board.count("a key is claimed"), 0, "{}", board.log());
        assert_eq!(name(&board), names[number - 1]);
        board.cut();
        say(&format!(
            "firmware claim: {}, deepest stack {stack}",
            names[number - 1]
        ));
    }
    names.dedup();
    assert_eq!(names.len(), BOARDS);
    for name in &names {
        let digits = name.strip_prefix("pump-").expect("a prefix and a number");
        assert!(digits.len() == 8 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
    }

    erase(&rig);
    let board = Emulator::start(image, rig.path(), "board-3");
    board.wait_for("a key is claimed", 0, SOON);
    wait_for("the gateway to refuse the third board", SOON, || {
        (count(&rig.ledger(), "uncounted", "claim-used-up") > 0).then_some(())
    });
    assert_eq!(board.count("is granted"), 0, "{}", board.log());
    board.cut();

    let ledger = rig.ledger();
    let devices = ledger["devices"].as_object().expect("devices by name");
    assert!(devices.keys().eq(sorted(&names)), "{devices:?}");
    for reason in ["plain", "key", "forged", "claim-forged"] {
        assert_eq!(count(&ledger, "uncounted", reason), 0, "{reason}");
    }
    drop(gateway);
}

fn sorted(names: &[String]) -> Vec<&String> {
    let mut sorted: Vec<&String> = names.iter().collect();
    sorted.sort();
    sorted
}
