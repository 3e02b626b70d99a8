//! `tidegate top`: the plant in the terminal, asked of the running gateway each second.
//!
//! ```text
//! asking thread ──picture, or why there is none──▶ state ──draw──▶ terminal
//!       ▲ which devices                              ▲ keys
//!       └────────────────────────────────────────────┘
//! ```
//! What is drawn is a pure function of the state; a gateway that is away is asked again until it
//! answers.

mod asking;
mod draw;
mod state;
#[cfg(test)]
mod tests;
mod words;

use std::io::{self, IsTerminal};
use std::sync::mpsc::TryRecvError;
use std::time::Duration;

use ratatui::buffer::{Buffer, Cell};
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use ratatui::layout::Rect;

use self::asking::Asking;
use self::state::{State, View, Wish};
use super::args::TopArgs;
use super::config::{self, Warnings};
use super::failure::Failure;
use super::output::{look_out, print};
use crate::rules::Look;

/// Longest time between two looks at the keys and the answers.
const LOOK: Duration = Duration::from_millis(100);
/// Columns of a picture that is printed.
const ONCE_WIDTH: u16 = 100;
/// Most lines of a view of a picture that is printed: what is below is told by its number.
const ONCE_LINES_MAX: u16 = 2_000;

/// Shows the plant until it is left, or once.
pub(super) fn show(args: &TopArgs) -> Result<(), Failure> {
    let settings = config::load(&args.config, Warnings::Untold)?;
    if args.once {
        let mut state = State::new(false);
        state.hear(Ok(asking::ask(&settings.data_dir, &state.selection())?));
        return print(&picture(&mut state));
    }
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(Failure::NoTerminal);
    }
    let mut state = State::new(matches!(look_out(), Look::Fancy));
    let asking = Asking::begin(settings.data_dir, state.selection());
    let asking = asking.map_err(|source| Failure::System { source })?;
    let watched =
        ratatui::try_init().and_then(|mut terminal| watch(&mut terminal, &mut state, &asking));
    // Whatever happened, the terminal is as it was.
    ratatui::restore();
    watched.map_err(|source| Failure::System { source })
}

/// Draws and takes keys until it is left.
fn watch(
    terminal: &mut ratatui::DefaultTerminal,
    state: &mut State,
    asking: &Asking,
) -> io::Result<()> {
    loop {
        terminal.draw(|frame| {
            let area = frame.area();
            state.settle(draw::body_lines(state), draw::room(area));
            draw::draw(state, area, frame.buffer_mut());
        })?;
        if event::poll(LOOK)?
            && let Event::Key(key) = event::read()?
            && key.kind != KeyEventKind::Release
        {
            match state.press(key) {
                Wish::Nothing => {}
                Wish::Ask => asking.change(state.selection()),
                Wish::Leave => return Ok(()),
            }
        }
        match asking.answers.try_recv() {
            Ok(answer) => state.hear(answer),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => {
                return Err(io::Error::other("the thread that asks the gateway ended"));
            }
        }
    }
}

/// One picture of all views as text.
fn picture(state: &mut State) -> String {
    let mut text = String::new();
    for view in View::ALL {
        state.view = view;
        let lines = draw::body_lines(state) + draw::AROUND_LINES;
        let height = u16::try_from(lines).unwrap_or(u16::MAX).min(ONCE_LINES_MAX);
        let area = Rect::new(0, 0, ONCE_WIDTH, height);
        let mut buffer = Buffer::empty(area);
        draw::draw(state, area, &mut buffer);
        let lines = text_of(&buffer);
        // The head once, and no keys where none can be pressed.
        let first = if view == View::ALL[0] {
            0
        } else {
            draw::HEAD_LINES
        };
        let shown = lines.iter().skip(first);
        for line in shown.take(lines.len() - first - draw::FOOT_LINES) {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

/// The lines of a buffer without the blanks behind them.
fn text_of(buffer: &Buffer) -> Vec<String> {
    let area = buffer.area;
    let line = |y: u16| {
        let cells = (0..area.width).filter_map(|x| buffer.cell((x, y)));
        let line: String = cells.map(Cell::symbol).collect();
        line.trim_end().to_owned()
    };
    (0..area.height).map(line).collect()
}
