//! State: what the terminal shows, and what keys change of it.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::asking::Answer;
use crate::plant::{DEVICES_MAX, Selection};

/// Lines that page up and page down move by.
const PAGE: usize = 10;
/// Signs of a filter.
const FILTER_CHARS_MAX: usize = 64;

/// What is shown below the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    /// Devices and their sensors.
    Devices,
    /// Rules.
    Rules,
    /// Sinks.
    Sinks,
    /// Alerts.
    Alerts,
}

impl View {
    /// All, in their order.
    pub const ALL: [Self; 4] = [Self::Devices, Self::Rules, Self::Sinks, Self::Alerts];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Devices => "devices",
            Self::Rules => "rules",
            Self::Sinks => "sinks",
            Self::Alerts => "alerts",
        }
    }

    fn at(self, step: usize) -> Self {
        let place = Self::ALL.iter().position(|one| *one == self).unwrap_or(0);
        Self::ALL[(place + step) % Self::ALL.len()]
    }
}

/// What a key asks for beside another drawing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Nothing,
    /// Other devices are wanted.
    Ask,
    Leave,
}

/// What is shown.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct State {
    /// The newest answer.
    pub answer: Option<Answer>,
    /// Why the gateway does not answer, if it does not.
    pub away: Option<String>,
    pub view: View,
    /// Lines passed over.
    pub scroll: usize,
    /// A part of the names of the devices shown, or a glob.
    pub filter: String,
    /// Whether the filter is being typed.
    pub types: bool,
    /// Whether the keys are told.
    pub helps: bool,
    /// Whether colours are taken.
    pub colours: bool,
}

impl State {
    /// Before the first answer.
    pub fn new(colours: bool) -> Self {
        Self {
            answer: None,
            away: None,
            view: View::Devices,
            scroll: 0,
            filter: String::new(),
            types: false,
            helps: false,
            colours,
        }
    }

    /// The devices to ask for: what is no glob is a part of their names.
    pub fn selection(&self) -> Selection {
        let is_glob = self.filter.contains(['*', '?']);
        let glob = match self.filter.as_str() {
            "" => None,
            filter if is_glob => Some(filter.to_owned()),
            filter => Some(format!("*{filter}*")),
        };
        Selection {
            glob,
            limit: DEVICES_MAX,
            ..Selection::default()
        }
    }

    /// The gateway said something, or did not. What it said before stays.
    pub fn hear(&mut self, answer: Result<Answer, String>) {
        match answer {
            Ok(answer) => {
                self.answer = Some(answer);
                self.away = None;
            }
            Err(why) => self.away = Some(why),
        }
    }

    /// Keeps what is passed over below what there is.
    pub fn settle(&mut self, lines: usize, room: usize) {
        self.scroll = self.scroll.min(lines.saturating_sub(room));
    }

    /// A key was pressed.
    pub fn press(&mut self, key: KeyEvent) -> Wish {
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return Wish::Leave;
        }
        if self.types {
            return self.press_in_filter(key.code);
        }
        if self.helps {
            self.helps = false;
            return Wish::Nothing;
        }
        match key.code {
            KeyCode::Char('q') => return Wish::Leave,
            KeyCode::Char('?') => self.helps = true,
            KeyCode::Char('/') => {
                self.types = true;
                self.show(View::Devices);
            }
            KeyCode::Esc if !self.filter.is_empty() => {
                self.filter.clear();
                self.scroll = 0;
                return Wish::Ask;
            }
            KeyCode::Char(digit @ '1'..='4') => {
                self.show(View::ALL[usize::from(digit as u8 - b'1')]);
            }
            KeyCode::Tab | KeyCode::Right => self.show(self.view.at(1)),
            KeyCode::BackTab | KeyCode::Left => self.show(self.view.at(3)),
            KeyCode::Down | KeyCode::Char('j') => self.scroll += 1,
            KeyCode::Up | KeyCode::Char('k') => self.scroll = self.scroll.saturating_sub(1),
            KeyCode::PageDown | KeyCode::Char(' ') => self.scroll += PAGE,
            KeyCode::PageUp => self.scroll = self.scroll.saturating_sub(PAGE),
            KeyCode::Home => self.scroll = 0,
            KeyCode::End => self.scroll = usize::MAX,
            _ => {}
        }
        Wish::Nothing
    }

    fn press_in_filter(&mut self, key: KeyCode) -> Wish {
        match key {
            KeyCode::Enter => {
                self.types = false;
                return Wish::Nothing;
            }
            KeyCode::Esc => {
                self.types = false;
                self.filter.clear();
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(sign) if self.filter.chars().count() < FILTER_CHARS_MAX => {
                self.filter.push(sign);
            }
            _ => return Wish::Nothing,
        }
        self.scroll = 0;
        Wish::Ask
    }

    fn show(&mut self, view: View) {
        self.view = view;
        self.scroll = 0;
    }
}
