//! Asked: which keys readers ask for, by table: what the schema has to know, and nothing else.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// Keys by table.
pub(in crate::rules) type Asked = BTreeMap<String, BTreeSet<&'static str>>;

thread_local! {
    static ASKED: RefCell<Asked> = RefCell::default();
}

/// Notes the keys of a table, under a title without the names of its own.
pub(super) fn note(title: &str, known: &[&'static str]) {
    let title = if title.starts_with("rule \"") || title.starts_with("[[rule]]") {
        "[[rule]]"
    } else if title.starts_with("[sink.") {
        "[sink.NAME]"
    } else if title.starts_with("[witness.") {
        "[witness.NAME]"
    } else if title.ends_with(" in `with`") {
        "`ALIAS` in `with`"
    } else {
        title
    };
    ASKED.with_borrow_mut(|asked| {
        let keys = asked.entry(title.to_owned()).or_default();
        keys.extend(known.iter().copied());
    });
}

/// What this thread asked for since the last time.
pub(in crate::rules) fn take() -> Asked {
    ASKED.take()
}
