//! The terminal drawn into a buffer: golden texts, keys, sizes.

use std::path::Path;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::json;

use super::asking::Answer;
use super::state::{State, View, Wish};
use super::{draw, picture, text_of, words};
use crate::mqtt::LinkCounters;
use crate::plant::{Devices, Overview};
use crate::sinks;
use crate::sinks::status::Phase;
use crate::status::{Link, Sink};

/// An answer of a small plant with something of everything.
fn answer() -> Answer {
    let overview = json!({
        "at": "2026-11-29T07:00:00Z",
        "status": {
            "gateway": { "site": "pump-house", "id": "00c0ffee00c0ffee", "start": 3, "version": "0.1.0" },
            "works_as_usual": true,
            "states": [],
            "sinks": { "cloud": sink() },
            "devices": { "admitted": 2, "turns": 0, "paused": 0, "budget_bytes": 0, "pauses": 0, "frames_held": 0 },
            "link": {}, "control": null, "limits": [],
        },
        "flow": {
            "samples": 14_412, "samples_as_json_bytes": 1_614_144, "received_bytes": 15_472,
            "records": 216, "sent_bytes": 74_598,
        },
        "devices": { "live": 1, "silent": 1 },
        "rules": [
            { "name": "minute", "version": 1, "forward": ["cloud"], "samples": 14_412, "left_out": 3,
              "records": 216, "waiting": 12, "sent": null, "sent_bytes": 74_598,
              "savings_percent": 95.4, "alerts_open": 0 },
            { "name": "high", "version": 2, "forward": ["cloud"], "samples": 100, "left_out": 0,
              "records": 0, "waiting": 1, "sent": null, "sent_bytes": 0,
              "savings_percent": null, "alerts_open": 1 },
        ],
        "alerts": [
            { "rule": "high", "device": "pump-1", "sensor": "pressure", "cause": "condition",
              "since": "2026-11-29T06:59:00Z", "historic": false, "value": 4.125, "unit": "bar" },
        ],
        "alerts_open": 1,
        "ledger": { "balanced": true, "unknown": true, "logged": 14_412, "unmatched": 0,
                    "delivered": 14_000, "waiting": 400 },
        "bill": { "month": "2026-11", "gap": false, "sinks": {} },
    });
    let sensor = |name: &str, health: &str, value: Option<f64>, spark: &[f64], open: u64| {
        json!({
            "name": name, "unit": "bar", "health": health, "value": value, "time": null,
            "trend": value.map(|_| "rising"), "spark": spark, "logged": 5,
            "suppressed": null, "rejected": 0, "alerts_open": open,
        })
    };
    let device = |name: &str, health: &str, why: Option<&str>, sensors: Vec<serde_json::Value>| {
        json!({
            "name": name, "health": health, "why": why, "heard": "2026-11-29T06:58:00Z",
            "is_down": false, "down_since": null, "backlog": false, "frames_waiting": 0, "clock": "device",
            "epoch": 0, "sensors": sensors,
        })
    };
    let rising: Vec<f64> = (0..24).map(f64::from).collect();
    let devices = json!({
        "total": 2, "offset": 0,
        "devices": [
            device("pump-1", "live", None, vec![
                sensor("pressure", "live", Some(4.125), &rising, 1),
                sensor("vibration.rms", "suppressed", Some(0.1 + 0.2), &[1.0; 3], 0),
            ]),
            device("pump-2", "silent", Some("its link has been down for 2 min"), vec![
                sensor("pressure", "unknown", None, &[], 0),
            ]),
        ],
    });
    Answer {
        overview: overview_of(overview),
        devices: serde_json::from_value::<Devices>(devices).unwrap(),
    }
}

/// A sink that cannot be reached.
fn sink() -> serde_json::Value {
    let sink = Sink {
        delivery: sinks::Status {
            phase: Phase::BackingOff,
            attempts: 3,
            last_error: Some("connection refused\n  by 127.0.0.1:1".into()),
            records_waiting: Some(12),
            dead_letters: Some(1),
            ..sinks::Status::default()
        },
        spool_bytes: Some(8_192),
    };
    serde_json::to_value(sink).unwrap()
}

/// What a link counts is not drawn: it is all 0.
fn overview_of(mut overview: serde_json::Value) -> Overview {
    let link = Link {
        up: true,
        counters: LinkCounters::default(),
    };
    overview["status"]["link"] = serde_json::to_value(link).unwrap();
    serde_json::from_value(overview).unwrap()
}

fn seen(state: &State, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal
        .draw(|frame| {
            let area = frame.area();
            draw::draw(state, area, frame.buffer_mut());
        })
        .unwrap();
    text_of(terminal.backend().buffer()).join("\n") + "\n"
}

fn golden(name: &str, shown: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/top/golden");
    let path = path.join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, shown).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(shown, wanted, "{}\n{shown}", path.display());
}

fn answered() -> State {
    let mut state = State::new(false);
    state.hear(Ok(answer()));
    state
}

fn press(state: &mut State, code: KeyCode) -> Wish {
    state.press(KeyEvent::new(code, KeyModifiers::NONE))
}

#[test]
fn every_view_fits_a_terminal_of_80_by_24() {
    let mut state = answered();
    for view in View::ALL {
        state.view = view;
        golden(&format!("{}.txt", view.name()), &seen(&state, 80, 24));
    }
    press(&mut state, KeyCode::Char('?'));
    golden("help.txt", &seen(&state, 80, 24));
}

#[test]
fn a_picture_has_every_view_and_no_keys() {
    let shown = picture(&mut answered());
    golden("once.txt", &shown);
    assert!(!shown.contains("q leave"));
}

/// A device names its unit.
#[test]
fn what_devices_say_gives_a_terminal_no_orders() {
    let mut answer = answer();
    for device in &mut answer.devices.devices {
        for sensor in &mut device.sensors {
            sensor.unit = "\u{1b}[2J\u{9b}\r\nbar".into();
        }
    }
    answer.overview.alerts[0].unit = "\u{1b}]0;x\u{7}".into();
    let mut state = State::new(false);
    state.hear(Ok(answer));
    let shown = picture(&mut state);
    assert!(shown.contains(" [2J"), "{shown:?}");
    let odd = shown
        .chars()
        .find(|sign| sign.is_control() && *sign != '\n');
    assert_eq!(odd, None, "{shown:?}");
    assert_eq!(
        shown.lines().count(),
        picture(&mut answered()).lines().count()
    );
}

#[test]
fn a_gateway_that_is_away_is_said_and_what_it_said_stays() {
    let mut state = State::new(true);
    assert!(seen(&state, 80, 24).contains("asking the gateway"));
    state.hear(Err("nobody answers".into()));
    assert!(seen(&state, 80, 24).contains("no answer, asking on: nobody answers"));
    state.hear(Ok(answer()));
    assert!(!seen(&state, 80, 24).contains("no answer"));
    state.hear(Err("nobody answers".into()));
    let shown = seen(&state, 80, 24);
    assert!(shown.contains("away; this is how it was"), "{shown}");
    assert!(shown.contains("pump-2"), "{shown}");
}

#[test]
fn any_size_can_be_drawn() {
    let mut state = answered();
    for (width, height) in [(1, 1), (10, 3), (20, 7), (80, 8), (300, 100)] {
        for view in View::ALL {
            state.view = view;
            seen(&state, width, height);
        }
    }
    let wide = seen(&answered(), 120, 30);
    assert!(wide.contains("▁▁▂▂▂▃"), "{wide}");
}

#[test]
fn scrolling_stays_within_what_there_is() {
    let mut state = answered();
    press(&mut state, KeyCode::End);
    state.settle(draw::body_lines(&state), 3);
    let last = state.scroll;
    assert_eq!(last, 3, "six lines, of which three are seen");
    press(&mut state, KeyCode::Up);
    assert_eq!(state.scroll, last - 1);
    press(&mut state, KeyCode::PageUp);
    assert_eq!(state.scroll, 0);
    let shown = seen(
        &State {
            scroll: 2,
            ..answered()
        },
        80,
        10,
    );
    assert!(!shown.contains("device, sensor"), "{shown}");
    assert!(shown.contains("vibration.rms"), "{shown}");
}

#[test]
fn keys_change_what_is_shown() {
    let mut state = answered();
    assert_eq!(press(&mut state, KeyCode::Tab), Wish::Nothing);
    assert_eq!(state.view, View::Rules);
    press(&mut state, KeyCode::BackTab);
    press(&mut state, KeyCode::BackTab);
    assert_eq!(state.view, View::Alerts);
    press(&mut state, KeyCode::Char('3'));
    assert_eq!(state.view, View::Sinks);
    assert_eq!(press(&mut state, KeyCode::Char('q')), Wish::Leave);
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(state.press(interrupt), Wish::Leave);
}

#[test]
fn a_filter_is_typed_kept_and_given_up() {
    let mut state = answered();
    press(&mut state, KeyCode::Char('/'));
    for sign in "qp".chars() {
        assert_eq!(press(&mut state, KeyCode::Char(sign)), Wish::Ask);
    }
    press(&mut state, KeyCode::Backspace);
    assert_eq!(state.selection().glob.as_deref(), Some("*q*"));
    press(&mut state, KeyCode::Backspace);
    for sign in "pump-?".chars() {
        press(&mut state, KeyCode::Char(sign));
    }
    press(&mut state, KeyCode::Enter);
    assert_eq!(state.selection().glob.as_deref(), Some("pump-?"));
    assert!(seen(&state, 80, 24).contains("/pump-?"));
    assert_eq!(press(&mut state, KeyCode::Esc), Wish::Ask);
    assert_eq!(state.selection().glob, None);
}

#[test]
fn values_and_sparks_are_short() {
    assert_eq!(words::value(Some(0.1 + 0.2)), "3.00000e-1");
    assert_eq!(words::value(Some(-4.5)), "-4.5");
    assert_eq!(words::value(None), "–");
    assert_eq!(words::spark(&[0.0, 0.5, 1.0]), "▁▅█");
    assert_eq!(words::spark(&[2.0, 2.0]), "▄▄");
    assert_eq!(words::spark(&[]), "");
}
