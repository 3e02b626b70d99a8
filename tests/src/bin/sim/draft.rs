//! Drafts: configurations as somebody could write them, drawn from a seed and rewritten again and
//! again: rules changed, removed, brought back, sent elsewhere, put in another order, and texts
//! that a gateway must refuse.
//!
//! A key that rules learn to have is a line of [`KEYS`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;

use tidegate_gateway::rules;
use tidegate_gateway::rules::settings::{LogSettings, Settings};
use tidegate_tests::dice::Dice;

use super::keys::{KEYS, Source, WINDOW, settle, tumbling};

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

/// Names that rules may have: few, so that one that was removed comes back. A rule takes records
/// of those before it only, so that none takes its own.
const NAMES: [&str; 6] = ["minute", "passed", "a", "b.fast", "c-slow", "d_all"];
/// Most drafts remembered to go back to.
const PAST_MAX: usize = 8;
/// How many rules in a hundred have what is most common only.
const PLAIN: u64 = 40;

/// A rule: its name, and a text for each of [`KEYS`], empty where it has none.
#[derive(Debug, Clone, PartialEq)]
struct Written {
    name: &'static str,
    keys: [String; KEYS.len()],
    /// Says what it takes of what there is: inputs, sources.
    pick: u64,
}

impl Written {
    fn draw(name: &'static str, dice: &mut Dice) -> Self {
        let plain = dice.percent(PLAIN);
        let mut keys = KEYS.each_ref().map(|key| {
            let often = if plain { key.plainly } else { key.often };
            if dice.percent(often) {
                (key.draw)(dice)
            } else {
                String::new()
            }
        });
        if plain && !keys[WINDOW].is_empty() {
            keys[WINDOW] = tumbling(dice);
        }
        let pick = dice.bits();
        Self { name, keys, pick }
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
        let mut settled = self.settled();
        for rule in &self.rules {
            let keys = settled.remove(rule.name).unwrap_or_default();
            let _ = writeln!(text, "[[rule]]\nname = {:?}\n{keys}", rule.name);
        }
        text
    }

    /// What each rule has that goes together with what it and the others have.
    fn settled(&self) -> BTreeMap<&'static str, String> {
        let mut texts = BTreeMap::new();
        let mut sources: Vec<Source> = Vec::new();
        for name in NAMES {
            if let Some(rule) = self.rules.iter().find(|rule| rule.name == name) {
                let (text, source) = settle(name, &rule.keys, rule.pick, &sources);
                texts.insert(name, text);
                sources.extend(source);
            }
        }
        texts
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
    refused: Option<String>,
    dice: Dice,
}

impl Author {
    pub fn new(dice: &mut Dice) -> Self {
        let mut dice = Dice::new(dice.bits());
        let mut author = Self {
            present: Draft {
                rules: Vec::new(),
                others: others(&mut dice),
            },
            past: Vec::new(),
            removed: Vec::new(),
            right: BTreeSet::new(),
            refused: None,
            dice,
        };
        let first = Draft::draw(&mut author.dice);
        author.put(first);
        author
    }

    /// Whether a log may hold a rule set: somebody wrote it in a configuration that was right.
    pub fn wrote(&self, rules: &str) -> bool {
        self.right.contains(rules)
    }

    /// The newest right configuration.
    pub fn text(&self) -> String {
        self.present.text()
    }

    /// A draft that was to be right, and was refused.
    pub fn refused(&self) -> Option<&String> {
        self.refused.as_ref()
    }

    /// Takes a draft if it is right.
    fn put(&mut self, draft: Draft) {
        let text = draft.text();
        match rules::parse(&text, FILE) {
            Ok((settings, _)) => {
                self.right.insert(settings.rules.to_json());
                self.present = draft;
            }
            Err(mistakes) => {
                self.refused = Some(format!("{mistakes:?}\n{text}"));
            }
        }
    }

    /// Writes another; says what it is about.
    pub fn write(&mut self) -> (String, &'static str) {
        if self.dice.percent(12) {
            return (self.mistaken(), "with a mistake");
        }
        let before = self.present.clone();
        let about = self.change();
        let after = std::mem::replace(&mut self.present, before.clone());
        self.put(after);
        self.past.push(before);
        if self.past.len() > PAST_MAX {
            self.past.remove(0);
        }
        (self.present.text(), about)
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
        let rule = |keys: &str| format!("{text}[[rule]]\nname = \"x\"\n{keys}\n");
        match self.dice.below(10) {
            6 => rule("from = \"nobody\"\nforward = [\"cloud\"]"),
            7 => rule(
                "match = {}\non_change = true\nalert = { when = \"value > 1\" }\nforward = [\"cloud\"]",
            ),
            8 => rule("match = {}\ngroup = \"site\"\nforward = [\"cloud\"]"),
            9 => rule("match = {}\nwhen = \"valeu > 1\"\nforward = [\"cloud\"]"),
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
