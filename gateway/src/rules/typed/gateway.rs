//! `[gateway]`, `[log]`, `[limits]` and `[clock]`: the gateway's own settings.

use std::path::PathBuf;

use tidegate_shared::ids::SiteName;
use tidegate_shared::limits::{SITE_BYTES_MAX, WINDOW_MAX};

use super::Named;
use crate::rules::mistake::{Findings, Kind};
use crate::rules::quantity::{duration_us, show_size};
use crate::rules::tree::{Section, duration, malformed, size, text, whole};

/// Keys of `[gateway]` that later versions know.
pub(super) const LATER: &[&str] = &["name", "standby", "metrics"];
/// Keys of `[limits]` that later versions know.
pub(super) const LATER_LIMITS: &[&str] = &["pipeline_memory_max"];

/// Most devices that `devices_max` may admit: each costs session and pipeline state.
pub(in crate::rules) const DEVICES_MAX_BOUND: u64 = 100_000;
/// Longest of the limits in time: a month.
const LIMIT_US_MAX: i64 = 31 * 86_400 * 1_000_000;
/// Longest wait for a trusted clock: records are held back meanwhile, and frames fill memory.
const WAIT_US_MAX: i64 = 86_400 * 1_000_000;

/// `[gateway]` as typed.
#[derive(Debug, Default)]
pub(in crate::rules) struct TypedGateway {
    /// `site`.
    pub(in crate::rules) site: Option<SiteName>,
    /// `data_dir`.
    pub(in crate::rules) data_dir: Option<PathBuf>,
}

impl TypedGateway {
    pub(super) fn read(mut section: Section<'_, '_>, findings: &mut Findings) -> Self {
        let site = section
            .need("site", "site = \"pump-house\"")
            .and_then(|value| {
                let typed = text("`site`", value, "a text such as \"pump-house\"", findings)?;
                SiteName::try_from(typed)
                    .map_err(|why| {
                        let expected =
                            format!("expected 1 to {SITE_BYTES_MAX} of A-Z a-z 0-9 . _ -");
                        let message = format!("`site` is not a site's name: {why}");
                        malformed(value.span(), message, &expected, findings);
                    })
                    .ok()
            });
        let data_dir = section
            .get("data_dir")
            .and_then(|value| path("`data_dir`", value, findings));
        section.elsewhere = &[("devices_max", "put it into [limits]")];
        section.close(findings);
        Self { site, data_dir }
    }
}

/// Reads a path: any text that is not empty and has no zero byte.
pub(super) fn path(
    name: &str,
    value: &crate::rules::tree::Value<'_>,
    findings: &mut Findings,
) -> Option<PathBuf> {
    let typed = text(name, value, "a path such as \"./data\"", findings)?;
    if typed.is_empty() || typed.contains('\0') {
        let message = format!("{name} is not a path");
        malformed(
            value.span(),
            message,
            "expected a path such as \"./data\"",
            findings,
        );
        return None;
    }
    Some(PathBuf::from(typed))
}

/// `[log]` as typed.
#[derive(Debug, Default)]
pub(in crate::rules) struct TypedLog {
    /// `commit_ms`.
    pub(in crate::rules) commit_ms: Option<u64>,
    /// `segment_bytes`.
    pub(in crate::rules) segment_bytes: Option<u64>,
    /// `bytes_max`, with its place.
    pub(in crate::rules) bytes_max: Option<(u64, Named)>,
}

impl TypedLog {
    pub(super) fn read(mut section: Section<'_, '_>, findings: &mut Findings) -> Self {
        let commit_ms = section.get("commit_ms").and_then(|value| {
            let typed_us = value
                .get_ref()
                .as_str()
                .and_then(|typed| duration_us(typed).ok());
            if let Some(us) = typed_us {
                findings
                    .mistake(
                        Kind::WrongType,
                        value.span(),
                        "`commit_ms` is a text",
                        "expected a whole number of milliseconds",
                    )
                    .help(format!("write commit_ms = {}", us / 1_000));
                return None;
            }
            whole("`commit_ms`", value, 0..=60_000, findings)
        });
        let segment_bytes = section
            .get("segment_bytes")
            .and_then(|value| size("`segment_bytes`", value, 64 << 10..=1 << 30, findings));
        let bytes_max = section.get("bytes_max").and_then(|value| {
            let bytes = size("`bytes_max`", value, 64 << 10..=1 << 44, findings)?;
            let named = Named {
                text: show_size(bytes),
                span: value.span(),
            };
            Some((bytes, named))
        });
        section.close(findings);
        Self {
            commit_ms,
            segment_bytes,
            bytes_max,
        }
    }
}

/// `[limits]` as typed.
#[derive(Debug, Default)]
pub(in crate::rules) struct TypedLimits {
    /// `devices_max`.
    pub(in crate::rules) devices_max: Option<u32>,
    /// `pending_bytes_max`.
    pub(in crate::rules) pending_bytes_max: Option<usize>,
    /// `window_max`.
    pub(in crate::rules) window_max: Option<u16>,
    /// `pending_catalog_max`.
    pub(in crate::rules) pending_catalog_max: Option<u32>,
    /// `revise_for` in µs.
    pub(in crate::rules) revise_for_us: Option<i64>,
    /// `offline_close` in µs.
    pub(in crate::rules) offline_close_us: Option<i64>,
}

impl TypedLimits {
    pub(super) fn read(mut section: Section<'_, '_>, findings: &mut Findings) -> Self {
        let devices_max = section
            .get("devices_max")
            .and_then(|value| whole("`devices_max`", value, 1..=DEVICES_MAX_BOUND, findings))
            .map(|devices| devices as u32);
        let pending_bytes_max = section
            .get("pending_bytes_max")
            .and_then(|value| size("`pending_bytes_max`", value, 64 << 10..=256 << 20, findings))
            .map(|bytes| bytes as usize);
        let window_max = section
            .get("window_max")
            .and_then(|value| whole("`window_max`", value, 1..=WINDOW_MAX.into(), findings))
            .map(|frames| frames as u16);
        let pending_catalog_max = section
            .get("pending_catalog_max")
            .and_then(|value| whole("`pending_catalog_max`", value, 1..=65_536, findings))
            .map(|batches| batches as u32);
        let mut time = |key: &'static str| {
            let value = section.get(key)?;
            duration(&format!("`{key}`"), value, 0..=LIMIT_US_MAX, findings)
        };
        let revise_for_us = time("revise_for");
        let offline_close_us = time("offline_close");
        section.close(findings);
        Self {
            devices_max,
            pending_bytes_max,
            window_max,
            pending_catalog_max,
            revise_for_us,
            offline_close_us,
        }
    }
}

/// `[clock]` as typed.
#[derive(Debug, Default)]
pub(in crate::rules) struct TypedClock {
    /// `wait` in µs.
    pub(in crate::rules) wait_us: Option<i64>,
    /// `hold_bytes_max`.
    pub(in crate::rules) hold_bytes_max: Option<u64>,
}

impl TypedClock {
    pub(super) fn read(mut section: Section<'_, '_>, findings: &mut Findings) -> Self {
        let wait_us = section
            .get("wait")
            .and_then(|value| duration("`wait`", value, 0..=WAIT_US_MAX, findings));
        let hold_bytes_max = section
            .get("hold_bytes_max")
            .and_then(|value| size("`hold_bytes_max`", value, 64 << 10..=1 << 32, findings));
        section.close(findings);
        Self {
            wait_us,
            hold_bytes_max,
        }
    }
}
