//! Reload: a machine's configuration file, and how far what stands in it is in force: the shell of
//! `run::reload` without files and tasks.

use std::sync::Arc;

use tidegate_gateway::conductor::Reconfiguration;
use tidegate_gateway::reload::examine;
use tidegate_gateway::rules::settings::Settings;

use super::draft::{FILE, in_small, read};
use super::story::Story;

/// A configuration file and what was read from it.
#[derive(Debug)]
pub struct ConfigurationFile {
    /// What stands in it.
    text: String,
    /// The newest text that was right.
    right: String,
    /// What is in force.
    said: Settings,
    /// What was read and is to hold.
    underway: Option<Settings>,
    /// It was written while another was under way.
    is_wanted: bool,
}

impl ConfigurationFile {
    pub fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            right: text.to_owned(),
            said: read(text),
            underway: None,
            is_wanted: false,
        }
    }

    /// What is in force.
    pub fn in_force(&self) -> Arc<Settings> {
        in_small(&self.said)
    }

    pub fn write(&mut self, text: String) {
        self.text = text;
    }

    /// Whether what stands in it holds, as far as the gateway that runs knows.
    pub fn is_settled(&self) -> bool {
        self.underway.is_none() && !self.is_wanted
    }

    /// A start reads it. With a mistake in it there would be none: somebody puts back what was
    /// right.
    pub fn start(&mut self, story: &mut Story) {
        if self.underway.take().is_some() {
            story.happen("reload: under way when the gateway ended");
        }
        self.is_wanted = false;
        if examine(&self.text, FILE, &self.said).is_err() {
            story.happen("reload: refused by a start");
            self.text.clone_from(&self.right);
        }
        self.right.clone_from(&self.text);
        self.said = read(&self.text);
    }

    /// A gateway that runs reads it; what changes is for its conductor.
    pub fn read(&mut self, story: &mut Story) -> Option<Reconfiguration> {
        if self.underway.is_some() {
            self.is_wanted = true;
            story.happen("reload: waits for the one before");
            return None;
        }
        self.is_wanted = false;
        match examine(&self.text, FILE, &self.said) {
            Err(refusal) => {
                story.happen("reload: refused");
                story.tell(|| format!("{}: {:?}", refusal.why, refusal.places));
                self.text.clone_from(&self.right);
                None
            }
            Ok((_, None)) => {
                story.happen("reload: nothing new");
                self.right.clone_from(&self.text);
                None
            }
            Ok((settings, Some(change))) => {
                story.happen("reload: taken");
                story.tell(|| change.told.join("; "));
                self.right.clone_from(&self.text);
                self.underway = Some(settings);
                Some(change.reconfiguration)
            }
        }
    }

    /// What was read holds; says whether it was written again meanwhile.
    pub fn hold(&mut self, story: &mut Story) -> bool {
        let underway = self.underway.take();
        story.check(
            "only what was asked for comes in force",
            underway.is_some(),
            String::new,
        );
        story.happen("reload: in force");
        self.said = underway.unwrap_or_else(|| self.said.clone());
        self.is_wanted
    }
}
