//! Drafts: configurations as somebody could write them, drawn from a seed and rewritten again and
//! again: rules changed, removed, brought back, sent elsewhere, put in another order, and texts
//! that a gateway must refuse.
//!
//! A key that rules learn to have is a line of [`KEYS`].

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Arc;

use tidegate_gateway::rules;
use tidegate_gateway::rules::settings::{LogSettings, Settings};
use tidegate_tests::dice::Dice;

/// The file that every draft is said to stand in.
pub const FILE: &str = "tidegate.toml";

/// What every draft begins with.
const HEAD: &str = r#"
[gateway]
site = "pump-house"
[mqtt]
url = "mqtt://127.0.0.1:1883"
[sink.archive]
type = "file"
path = "records.ndjson"
[sink.cloud]
type = "file"
path = "others.ndjson"
batch_records_max = 20
"#;

/// Names that rules may have: few, so that one that was removed comes back.
const NAMES: [&str; 6] = ["minute", "passed", "a", "b.fast", "c-slow", "d_all"];
/// Most drafts remembered to go back to.
const PAST_MAX: usize = 8;

/// What a rule may have.
struct Key {
    /// How many rules in a hundred have it.
    often: u64,
    /// Draws its line, or those lines that go together.
    draw: fn(&mut Dice) -> String,
    /// Whether a rule that changes it computes something else.
    computes: bool,
}

const fn key(often: u64, computes: bool, draw: fn(&mut Dice) -> String) -> Key {
    Key {
        often,
        draw,
        computes,
    }
}

/// All that a rule may have but its name.
const KEYS: [Key; 6] = [
    key(100, true, matching),
    key(20, true, keep),
    key(20, true, deadband),
    key(80, true, window),
    key(40, false, priority),
    key(100, false, forward),
];

fn one_of(dice: &mut Dice, from: &[&str]) -> String {
    from[dice.below(from.len() as u64) as usize].to_owned()
}

fn matching(dice: &mut Dice) -> String {
    let devices = [
        "",
        "",
        "device = \"*\", ",
        "device = \"pump-*\", ",
        "device = \"p*-?\", ",
        "device = \"pump-0\", ",
    ];
    let device = one_of(dice, &devices);
    let sensors = ["*", "*", "*", "pressure", "vibration", "v*n", "press????"];
    let sensor = one_of(dice, &sensors);
    format!("match = {{ {device}sensor = \"{sensor}\" }}")
}

/// Bounds that lie among the pressures of one unit.
fn keep(dice: &mut Dice) -> String {
    let at = 1_000_000 + 10_000 * dice.below(3) + dice.below(4);
    match dice.below(3) {
        0 => format!("keep = {{ min = {at}.25 }}"),
        1 => format!("keep = {{ max = {at}.5 }}"),
        _ => format!("keep = {{ min = {at}, max = {}.75 }}", at + 2),
    }
}

fn deadband(dice: &mut Dice) -> String {
    format!("deadband = 0.0{}", 1 + dice.below(9))
}

fn window(dice: &mut Dice) -> String {
    let length = one_of(dice, &["10s", "25s", "1m", "1m", "1m", "2m", "5m"]);
    let lateness = one_of(dice, &["0s", "3s", "10s", "10s", "40s"]);
    let late = one_of(
        dice,
        &["", "", "", ", late = \"revise\"", ", late = \"drop\""],
    );
    let all = [
        "count", "sum", "min", "max", "mean", "stddev", "first", "last", "p50", "p99.9",
    ];
    let mut names: Vec<String> = Vec::new();
    for name in all {
        if dice.percent(40) {
            let at = dice.below(names.len() as u64 + 1) as usize;
            names.insert(at, format!("{name:?}"));
        }
    }
    if names.is_empty() {
        names.push("\"count\"".to_owned());
    }
    let names = names.join(", ");
    format!(
        "window = {{ tumbling = \"{length}\", lateness = \"{lateness}\"{late} }}\naggregate = [{names}]"
    )
}

fn priority(dice: &mut Dice) -> String {
    format!("priority = {:?}", one_of(dice, &["low", "normal", "high"]))
}

fn forward(dice: &mut Dice) -> String {
    let sinks = ["\"archive\"", "\"cloud\"", "\"archive\", \"cloud\""];
    format!("forward = [{}]", one_of(dice, &sinks))
}

/// A rule: its name, and a text for each of [`KEYS`], empty where it has none.
#[derive(Debug, Clone, PartialEq)]
struct Written {
    name: &'static str,
    keys: [String; KEYS.len()],
}

impl Written {
    fn draw(name: &'static str, dice: &mut Dice) -> Self {
        let keys = KEYS.each_ref().map(|key| {
            if dice.percent(key.often) {
                (key.draw)(dice)
            } else {
                String::new()
            }
        });
        Self { name, keys }
    }

    fn redraw(&mut self, computes: bool, dice: &mut Dice) {
        let which: Vec<usize> = (0..KEYS.len())
            .filter(|at| KEYS[*at].computes == computes)
            .collect();
        let at = which[dice.below(which.len() as u64) as usize];
        let goes = KEYS[at].often < 100 && !self.keys[at].is_empty() && dice.percent(50);
        self.keys[at] = if goes {
            String::new()
        } else {
            (KEYS[at].draw)(dice)
        };
    }
}

/// A whole configuration.
#[derive(Debug, Clone, PartialEq)]
struct Draft {
    rules: Vec<Written>,
    others: String,
}

impl Draft {
    fn draw(dice: &mut Dice) -> Self {
        let mut draft = Self {
            rules: Vec::new(),
            others: others(dice),
        };
        for _ in 0..=dice.below(4) {
            draft.add(dice);
        }
        draft
    }

    fn add(&mut self, dice: &mut Dice) -> bool {
        let is_free = |name: &&&str| self.rules.iter().all(|rule| rule.name != **name);
        let free: Vec<&'static str> = NAMES.iter().filter(is_free).copied().collect();
        if free.is_empty() {
            return false;
        }
        let name = free[dice.below(free.len() as u64) as usize];
        let at = dice.below(self.rules.len() as u64 + 1) as usize;
        self.rules.insert(at, Written::draw(name, dice));
        true
    }

    fn text(&self) -> String {
        let mut text = format!("{HEAD}{}", self.others);
        for rule in &self.rules {
            let _ = writeln!(text, "[[rule]]\nname = {:?}", rule.name);
            for key in rule.keys.iter().filter(|key| !key.is_empty()) {
                text.push_str(key);
                text.push('\n');
            }
        }
        text
    }
}

/// What a reload can change beside the rules.
fn others(dice: &mut Dice) -> String {
    let commit_ms = 200 + 100 * dice.below(7);
    let window_max = 3 + dice.below(6);
    let offline = 15 + dice.below(3);
    // So short that windows expire; the checks of what is late know that.
    let revise = if dice.percent(10) { "2m" } else { "24h" };
    format!(
        "[log]\ncommit_ms = {commit_ms}\n[limits]\nwindow_max = {window_max}\noffline_close = \"{offline}m\"\nrevise_for = \"{revise}\"\n"
    )
}

/// Somebody who writes configurations.
pub struct Author {
    present: Draft,
    past: Vec<Draft>,
    removed: Vec<Written>,
    /// Rule sets of right drafts, as a log would hold them.
    right: BTreeSet<String>,
    dice: Dice,
}

impl Author {
    pub fn new(dice: &mut Dice) -> Self {
        let mut dice = Dice::new(dice.bits());
        let present = Draft::draw(&mut dice);
        Self {
            right: BTreeSet::from([read(&present.text()).rules.to_json()]),
            present,
            past: Vec::new(),
            removed: Vec::new(),
            dice,
        }
    }

    /// Whether a log may hold a rule set: somebody wrote it in a configuration that was right.
    pub fn wrote(&self, rules: &str) -> bool {
        self.right.contains(rules)
    }

    /// The newest right configuration.
    pub fn text(&self) -> String {
        self.present.text()
    }

    /// Writes another; says what it is about.
    pub fn write(&mut self) -> (String, &'static str) {
        if self.dice.percent(12) {
            return (self.mistaken(), "with a mistake");
        }
        let before = self.present.clone();
        let about = self.change();
        self.past.push(before);
        if self.past.len() > PAST_MAX {
            self.past.remove(0);
        }
        let text = self.present.text();
        self.right.insert(read(&text).rules.to_json());
        (text, about)
    }

    fn change(&mut self) -> &'static str {
        let dice = &mut self.dice;
        let draft = &mut self.present;
        let many = draft.rules.len() as u64;
        match dice.below(10) {
            0..=2 if many > 0 => {
                let at = dice.below(many) as usize;
                draft.rules[at].redraw(true, dice);
                "a rule computes something else"
            }
            3 if many > 0 => {
                let at = dice.below(many) as usize;
                draft.rules[at].redraw(false, dice);
                "a rule's records go elsewhere"
            }
            4 if many > 0 => {
                let at = dice.below(many) as usize;
                let removed = draft.rules.remove(at);
                self.removed.push(removed);
                "a rule is removed"
            }
            5 => {
                let back = self.removed.pop();
                let taken = |name| draft.rules.iter().any(|rule| rule.name == name);
                if let Some(back) = back.filter(|back| !taken(back.name)) {
                    draft.rules.push(back);
                    return "a rule comes back as it was";
                }
                draft.add(dice);
                "a rule is added"
            }
            6 if !self.past.is_empty() => {
                let at = dice.below(self.past.len() as u64) as usize;
                *draft = self.past[at].clone();
                "an earlier configuration comes back"
            }
            7 => {
                draft.rules.reverse();
                draft.others = others(dice);
                "limits and the order of rules"
            }
            8 => {
                *draft = Draft::draw(dice);
                "everything"
            }
            _ => "nothing",
        }
    }

    /// A text that must not be taken, whatever else it changes.
    fn mistaken(&mut self) -> String {
        let mut draft = self.present.clone();
        draft.add(&mut self.dice);
        let text = draft.text();
        match self.dice.below(6) {
            0 => format!("{text}[[rule"),
            1 => format!(
                "{text}[[rule]]\nname = \"x\"\nmatch = {{ sensor = \"*\" }}\nforward = [\"clod\"]\n"
            ),
            2 => format!("{text}[[rule]]\nname = \"x\"\n"),
            3 => text.replace("site = \"pump-house\"", "site = \"elsewhere\""),
            4 => text.replace("path = \"others.ndjson\"", "path = \"moved.ndjson\""),
            _ => format!("{text}unknown = 1\n"),
        }
    }
}

/// A configuration as a gateway of the simulation runs with it: its files are small, so that
/// segments end and queues run over.
pub fn in_small(said: &Settings) -> Arc<Settings> {
    let mut settings = said.clone();
    settings.log = LogSettings {
        segment_bytes: 8 << 10,
        bytes_max: 64 << 20,
        ..settings.log
    };
    for sink in &mut settings.sinks {
        let small = sink.name == "cloud";
        sink.spool_bytes_max = if small { 24 << 10 } else { 512 << 10 };
    }
    Arc::new(settings)
}

/// What a right draft says.
pub fn read(text: &str) -> Settings {
    match rules::parse(text, FILE) {
        Ok((settings, _)) => settings,
        Err(mistakes) => panic!("a draft has mistakes: {mistakes:?}\n{text}"),
    }
}
