//! Keys: what a rule of a draft may have, each drawn for itself, and which of them go together.
//!
//! What is drawn has places that are filled when it is known what stands beside it:
//!
//! | place | filled with |
//! |---|---|
//! | `$q` | the input's name, or `value` where the rule has no input |
//! | `$input` | a sensor, of another device where devices meet |
//! | `$rule`, `$value` | a rule that makes samples, and a value of its records |

use tidegate_tests::dice::Dice;

/// What a rule may have.
pub struct Key {
    /// How many rules in a hundred have it.
    pub often: u64,
    /// How many of those rules that have only what is most common.
    pub plainly: u64,
    /// Whether a rule that changes it computes something else.
    pub computes: bool,
    /// Draws its line, or those lines that go together.
    pub draw: fn(&mut Dice) -> String,
}

const fn key((often, plainly): (u64, u64), computes: bool, draw: fn(&mut Dice) -> String) -> Key {
    Key {
        often,
        plainly,
        computes,
        draw,
    }
}

// Places in KEYS.
const FROM: usize = 1;
const WITH: usize = 3;
const THINNING: usize = 6;
pub const WINDOW: usize = 7;
const AGGREGATE: usize = 8;
const GROUP: usize = 9;
const ALERT: usize = 10;

/// All that a rule may have but its name.
pub const KEYS: [Key; 13] = [
    key((100, 100), true, matching),
    key((30, 0), true, from),
    key((20, 20), true, keep),
    key((15, 0), true, with),
    key((15, 0), true, derive),
    key((15, 0), true, when),
    key((20, 0), true, thinning),
    key((80, 80), true, window),
    key((100, 100), true, aggregate),
    key((20, 0), true, group),
    key((18, 0), true, alert),
    key((40, 40), false, priority),
    key((100, 100), false, forward),
];

/// A rule whose records can be samples.
#[derive(Debug, Clone)]
pub struct Source {
    pub name: &'static str,
    /// Those of its values that are numbers.
    values: Vec<&'static str>,
}

/// The lines of those keys that go together, and what others can take from such a rule.
pub fn settle(
    name: &'static str,
    keys: &[String; KEYS.len()],
    pick: u64,
    sources: &[Source],
) -> (String, Option<Source>) {
    let has = |key: usize| !keys[key].is_empty();
    let says = |key: usize, words: &[&str]| words.iter().any(|word| keys[key].contains(word));
    let alert = has(ALERT);
    let door = !alert && says(THINNING, &["max_error"]);
    let window = has(WINDOW) && !alert && !door;
    // Records have no silence.
    let chained = has(FROM) && !says(ALERT, &["silent_for"]) && !sources.is_empty();
    let source = chained.then(|| &sources[(pick % sources.len() as u64) as usize]);
    let own = says(WINDOW, &["session", "count", "sliding"]);
    let grouped = has(GROUP) && !alert && !door && (chained || window && !own);
    let stays = |key: usize| match key {
        FROM => chained,
        THINNING => !alert,
        WINDOW | AGGREGATE => window,
        GROUP => grouped,
        _ => true,
    };
    let lines = keys.iter().enumerate();
    let lines = lines.filter(|(key, line)| stays(*key) && !line.is_empty());
    let mut text: String = lines.map(|(_, line)| format!("{line}\n")).collect();
    let over = if chained { "site" } else { "device" };
    text = text.replace("$group", over);
    text = text.replace("$q", if has(WITH) { "q" } else { "value" });
    let sensor = ["pressure", "vibration"][(pick / 7 % 2) as usize];
    let other = chained && grouped && pick / 64 % 2 == 0;
    text = text.replace(
        "$input",
        &if other {
            format!(
                "{{ device = \"pump-{}\", sensor = {sensor:?} }}",
                pick / 128 % 3
            )
        } else {
            format!("{sensor:?}")
        },
    );
    if let Some(source) = source {
        let value = source.values[(pick / 1_024) as usize % source.values.len()];
        text = text.replace("$rule", source.name).replace("$value", value);
    }
    let values: Vec<&'static str> = if window {
        let quoted = |value: &&&str| keys[AGGREGATE].contains(&format!("{value:?}"));
        NUMBERS.iter().filter(quoted).copied().collect()
    } else {
        vec!["value"]
    };
    let is_source = !alert && !values.is_empty() && (chained || !grouped);
    (text, is_source.then_some(Source { name, values }))
}

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
        "device = [\"pump-1\", \"*-0\"], ",
    ];
    let device = one_of(dice, &devices);
    let sensors = [
        "\"*\"",
        "\"*\"",
        "\"*\"",
        "\"pressure\"",
        "\"vibration\"",
        "\"v*n\"",
        "\"press????\"",
        "[\"pressure\", \"vib*\", \"q\"]",
    ];
    let sensor = one_of(dice, &sensors);
    let more = [
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        ", unit = \"bar\"",
        ", unit = [\"mm/s\", \"?ar\"]",
        ", unit = \"mm/s\"",
        ", kind = \"g*\"",
        ", site = [\"pump-*\"]",
        ", tags = \"line=*\"",
    ];
    let more = one_of(dice, &more);
    format!("match = {{ {device}sensor = {sensor}{more} }}")
}

fn from(dice: &mut Dice) -> String {
    let decimals = one_of(dice, &["", "", ", decimals = 2", ", decimals = 0"]);
    format!("from = {{ rule = \"$rule\", value = \"$value\"{decimals} }}")
}

/// Bounds that lie among the pressures of one unit.
fn keep(dice: &mut Dice) -> String {
    let at = 1_000_000 + 10_000 * dice.below(3) + dice.below(4);
    match dice.below(5) {
        0 => format!("keep = {{ min = {at}.25 }}"),
        1 => format!("keep = {{ max = {at}.5 }}"),
        2 => "keep = { rate_max = 0.004 }".to_owned(),
        3 => format!("keep = {{ min = {at}, rate_max = 0.02 }}"),
        _ => format!("keep = {{ min = {at}, max = {}.75 }}", at + 2),
    }
}

fn with(dice: &mut Dice) -> String {
    let age = one_of(dice, &["1s", "8s", "8s", "1m"]);
    format!("with = {{ q = $input }}\nmax_age = \"{age}\"")
}

fn derive(dice: &mut Dice) -> String {
    let what = [
        "value = \"$q * 2 - value\"",
        "value = \"floor(value * 20) / 20\"",
        "value = \"sqrt(abs($q)) + 1 / (value - $q)\"",
        "value = \"max($q, value) > 1000000.3 ? value : $q - 0.5\"",
        "rate = \"1m\"",
        "rate = \"1s\", max_gap = \"10s\"",
        "integral = \"1h\"",
        "integral = \"1s\", max_gap = \"6s\"",
    ];
    let what = one_of(dice, &what);
    let unit = one_of(dice, &["", "", ", unit = \"°F\"", ", unit = \"\""]);
    let decimals = one_of(dice, &["", ", decimals = 0", ", decimals = 2"]);
    format!("derive = {{ {what}{unit}{decimals} }}")
}

/// A condition that holds for so many of ten values of a sensor that follow each other.
fn condition(dice: &mut Dice) -> String {
    let tenths = 1 + dice.below(9);
    match dice.below(5) {
        0..=2 => format!("value * 10 - floor(value * 10) > 0.{tenths}5"),
        3 => format!("$q - floor($q) < 0.{tenths} || device == 'pump-1'"),
        _ => format!("!(sensor.startsWith('vib') && value - floor(value) >= 0.{tenths})"),
    }
}

fn when(dice: &mut Dice) -> String {
    format!("when = \"{}\"", condition(dice))
}

fn thinning(dice: &mut Dice) -> String {
    let ways = [
        "deadband = 0.0$d",
        "deadband = 0.0$d",
        "deadband = { relative = 0.0000000$d }",
        "deadband = { absolute = 0.01, relative = \"0.000002%\" }",
        "on_change = true",
        "decimate = 3",
        "decimate = \"$ds\"",
        "max_error = 0.0$d",
        "max_error = 0.0$d",
    ];
    let digit = (1 + dice.below(9)).to_string();
    let way = one_of(dice, &ways).replace("$d", &digit);
    let beat = one_of(
        dice,
        &["", "", "\nheartbeat = \"20s\"", "\nheartbeat = \"3m\""],
    );
    format!("{way}{beat}")
}

pub fn window(dice: &mut Dice) -> String {
    let shape = match dice.below(20) {
        0..=8 => return tumbling(dice),
        9..=11 => one_of(
            dice,
            &[
                "hopping = \"1m\", every = \"20s\"",
                "hopping = \"10s\", every = \"10s\"",
                "hopping = \"5m\", every = \"30s\"",
            ],
        ),
        12..=13 => one_of(dice, &["sliding = \"9s\"", "sliding = \"1m\""]),
        14..=15 => one_of(
            dice,
            &[
                "session = \"10s\"",
                "session = \"4s\"",
                "session = \"3s\", longest = \"2m\"",
                "session = \"1m\", longest = \"1m\"",
            ],
        ),
        16..=17 => one_of(dice, &["count = 1", "count = 7", "count = 40"]),
        _ => one_of(
            dice,
            &[
                "every = \"1d\", zone = \"Europe/Berlin\"",
                "every = \"1mo\", zone = \"Europe/Berlin\"",
                "every = \"1w\", zone = \"America/New_York\"",
                "every = \"1d\", zone = \"Asia/Kathmandu\"",
                "every = \"1d\", zone = \"UTC\"",
            ],
        ),
    };
    spans(&shape, dice)
}

pub fn tumbling(dice: &mut Dice) -> String {
    let length = one_of(dice, &["10s", "25s", "1m", "1m", "1m", "2m", "5m"]);
    spans(&format!("tumbling = \"{length}\""), dice)
}

fn spans(shape: &str, dice: &mut Dice) -> String {
    let lateness = one_of(dice, &["0s", "3s", "10s", "10s", "40s"]);
    let late = one_of(
        dice,
        &["", "", "", ", late = \"revise\"", ", late = \"drop\""],
    );
    let hold = one_of(dice, &["", "", ", hold = \"5s\""]);
    format!("window = {{ {shape}, lateness = \"{lateness}\"{late}{hold} }}")
}

/// The values of records that are numbers.
const NUMBERS: [&str; 17] = [
    "count",
    "sum",
    "min",
    "max",
    "mean",
    "stddev",
    "first",
    "last",
    "p50",
    "p99.9",
    "median",
    "range",
    "time_weighted_mean",
    "delta",
    "rate",
    "hot",
    "cold",
];

fn aggregate(dice: &mut Dice) -> String {
    let mut names: Vec<String> = Vec::new();
    let mut put = |name: String, dice: &mut Dice| {
        let at = dice.below(names.len() as u64 + 1) as usize;
        names.insert(at, name);
    };
    for (at, name) in NUMBERS.iter().enumerate() {
        let often = if at < 10 { 40 } else { 15 };
        if !dice.percent(often) {
            continue;
        }
        let text = match *name {
            "hot" => {
                "{ share_of_time = \"value * 10 - floor(value * 10) > 0.35\", name = \"hot\" }"
                    .to_owned()
            }
            "cold" => "{ share_of_time = \"value < 1000000.5\", name = \"cold\" }".to_owned(),
            name => format!("{name:?}"),
        };
        put(text, dice);
    }
    if dice.percent(15) {
        let bounds = one_of(dice, &["1000000.05, 1000000.2, 1010000, 5e6", "0"]);
        put(
            format!("{{ histogram = [{bounds}], name = \"spread\" }}"),
            dice,
        );
    }
    if names.is_empty() {
        names.push("\"count\"".to_owned());
    }
    format!("aggregate = [{}]", names.join(", "))
}

fn group(_: &mut Dice) -> String {
    "group = \"$group\"".to_owned()
}

fn alert(dice: &mut Dice) -> String {
    let silence = one_of(dice, &["silent_for = \"15s\"", "silent_for = \"2m\""]);
    if dice.percent(15) {
        return format!("alert = {{ {silence} }}");
    }
    let mut text = format!("when = \"{}\"", condition(dice));
    let more = [
        (
            40,
            one_of(dice, &["for = \"5s\"", "for = \"0s\"", "for = \"20s\""]),
        ),
        (30, format!("clear = \"{}\"", condition(dice))),
        (30, one_of(dice, &["repeat = \"10s\"", "repeat = \"3m\""])),
        (20, "historic_after = \"20s\"".to_owned()),
        (30, silence),
    ];
    for (often, key) in more {
        if dice.percent(often) {
            text = format!("{text}, {key}");
        }
    }
    format!("alert = {{ {text} }}")
}

fn priority(dice: &mut Dice) -> String {
    format!("priority = {:?}", one_of(dice, &["low", "normal", "high"]))
}

fn forward(dice: &mut Dice) -> String {
    let sinks = ["\"archive\"", "\"cloud\"", "\"archive\", \"cloud\""];
    format!("forward = [{}]", one_of(dice, &sinks))
}
