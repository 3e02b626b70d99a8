//! Look: size and colours of a chart.

use plotters::style::RGBColor;

use crate::http::query::{Query, Refusal, refused, shown};

/// Parameters of a chart's path.
pub(super) const PARAMETERS: [&str; 3] = ["theme", "width", "height"];

/// Size and colours.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) theme: Theme,
}

/// Colours.
#[derive(Debug, Clone, Copy)]
pub(super) struct Theme {
    pub(super) ground: RGBColor,
    pub(super) text: RGBColor,
    pub(super) grid: RGBColor,
    pub(super) samples: RGBColor,
    pub(super) alert: RGBColor,
    /// Of rules, one after the other and again from the first.
    pub(super) rules: [RGBColor; 4],
}

/// Dark on light: text has a contrast of 13 to 1, lines at least 3 to 1.
pub(super) const LIGHT: Theme = Theme {
    ground: RGBColor(0xff, 0xff, 0xff),
    text: RGBColor(0x1f, 0x29, 0x33),
    grid: RGBColor(0xd9, 0xdf, 0xe5),
    samples: RGBColor(0x4a, 0x5a, 0x6a),
    alert: RGBColor(0xb0, 0x2a, 0x1a),
    rules: [
        RGBColor(0x00, 0x62, 0xa3),
        RGBColor(0xa8, 0x5b, 0x00),
        RGBColor(0x8a, 0x3a, 0x8f),
        RGBColor(0x00, 0x7a, 0x5e),
    ],
};

/// Light on dark.
pub(super) const DARK: Theme = Theme {
    ground: RGBColor(0x14, 0x1a, 0x21),
    text: RGBColor(0xe6, 0xec, 0xf1),
    grid: RGBColor(0x36, 0x41, 0x4c),
    samples: RGBColor(0xa9, 0xb8, 0xc6),
    alert: RGBColor(0xff, 0x8a, 0x7a),
    rules: [
        RGBColor(0x5c, 0xb3, 0xf0),
        RGBColor(0xf0, 0xa8, 0x4a),
        RGBColor(0xd4, 0x93, 0xd9),
        RGBColor(0x4c, 0xc9, 0xa6),
    ],
};

impl Default for Look {
    fn default() -> Self {
        Self {
            width: 800,
            height: 320,
            theme: LIGHT,
        }
    }
}

impl Look {
    /// As a query asks for it.
    pub(super) fn read(query: &Query) -> Result<Self, Refusal> {
        let default = Self::default();
        let theme = match query.get("theme") {
            None | Some("light") => LIGHT,
            Some("dark") => DARK,
            Some(other) => {
                return Err(refused(&format!(
                    "`theme` cannot be \"{}\": expected light or dark",
                    shown(other)
                )));
            }
        };
        let width = query.between("width", 240, 2_000)?;
        let height = query.between("height", 120, 1_200)?;
        Ok(Self {
            width: width.map_or(default.width, |width| width as u32),
            height: height.map_or(default.height, |height| height as u32),
            theme,
        })
    }
}
