//! `tidegate audit verify`: a whole log, or one entry by its proof.

use std::fmt::Write;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use serde_json::json;

use super::args::VerifyArgs;
use super::{failed, key, read_file};
use crate::audit::proof::Proof;
use crate::audit::told::{self, Told, ToldReport, Unread};
use crate::audit::verify::{Report, Trusted, Wrong, verify as verify_log};
use crate::audit::{Entry, Folder, LogKey, Signed, WitnessKey};
use crate::cli::failure::Failure;
use crate::cli::output::{print, print_as_is};
use crate::record::rfc3339;

/// Verifies what was named.
pub(super) fn verify(args: &VerifyArgs) -> Result<(), Failure> {
    let told = verdict(args)?;
    if args.json {
        print_as_is(&told)
    } else {
        print(&told)
    }
}

/// What was verified, in words or as JSON.
pub(super) fn verdict(args: &VerifyArgs) -> Result<String, Failure> {
    let log = key(&args.key, LogKey::parse)?;
    let witnesses = args.witness.iter().map(|text| key(text, WitnessKey::parse));
    let witnesses: Vec<WitnessKey> = witnesses.collect::<Result<_, _>>()?;
    let told = match &args.upstream {
        Some(path) => read_told(path, &log)?,
        None => Vec::new(),
    };
    match (&args.dir, &args.proof, &args.entry) {
        (Some(dir), _, _) => whole(args, dir, &log, (&witnesses, &told)),
        (None, Some(proof), Some(entry)) => one(args, proof, entry, &log, &witnesses),
        _ => alone(args, &log, &told),
    }
}

/// The checkpoints in what a sink received.
fn read_told(path: &Path, log: &LogKey) -> Result<Vec<Told>, Failure> {
    let read = if path == Path::new("-") {
        told::read(std::io::stdin().lock(), log)
    } else {
        let file = File::open(path).map_err(|source| Failure::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        told::read(BufReader::new(file), log)
    };
    read.map_err(|why| match why {
        Unread::Foreign { .. } => not_verified(why),
        why => failed(why),
    })
}

fn not_verified(why: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::NotVerified {
        source: Box::new(why),
    }
}

/// Checkpoints that went upstream, without their log.
fn alone(args: &VerifyArgs, log: &LogKey, told: &[Told]) -> Result<String, Failure> {
    let report = told::compare(told).map_err(not_verified)?;
    Ok(if args.json {
        let told = json!({"origin": log.origin(), "upstream": told_json(report)});
        format!("{told:#}\n")
    } else {
        let ToldReport {
            checkpoints,
            from,
            to,
        } = report;
        format!(
            "{} has signed all {checkpoints} checkpoints upstream, of {from} to {to} entries\n  \
             no two of one size differ; that one has grown into the other only the log can show\n",
            log.origin()
        )
    })
}

fn told_json(report: ToldReport) -> serde_json::Value {
    json!({
        "checkpoints": report.checkpoints,
        "from_entries": report.from,
        "to_entries": report.to,
    })
}

fn whole(
    args: &VerifyArgs,
    dir: &Path,
    log: &LogKey,
    (witnesses, told): (&[WitnessKey], &[Told]),
) -> Result<String, Failure> {
    Failure::need_data(dir)?;
    let folder = Folder::of(dir);
    let paths = folder.paths().map_err(|source| Failure::Unreadable {
        path: folder.dir().to_owned(),
        source,
    })?;
    let seen = args.from.as_deref().map(read_file).transpose()?;
    let trusted = Trusted {
        key: log,
        witnesses,
        seen: seen.as_deref(),
        told,
    };
    let report = verify_log(&folder, &paths, trusted).map_err(not_verified)?;
    Ok(if args.json {
        format!("{:#}\n", as_json(log, &report))
    } else {
        as_text(log, &report)
    })
}

fn as_text(log: &LogKey, report: &Report) -> String {
    let (origin, size) = (log.origin(), report.signed.size());
    let mut text = format!(
        "the audit log of {origin} verifies\n  entries: {size}, in {} tiles\n",
        report.tiles
    );
    if let Some((first, last)) = report.span_us {
        let _ = writeln!(text, "  from {} to {}", rfc3339(first), rfc3339(last));
    }
    let _ = writeln!(text, "  root hash: {}", report.signed.root());
    for (witness, size, at_s) in &report.cosigned {
        let _ = writeln!(
            text,
            "  cosigned by {witness}: {size} entries, at {}",
            second(*at_s)
        );
    }
    if report.by_others > 0 {
        let _ = writeln!(
            text,
            "  cosignatures not verified, for want of the witness's key: {}",
            report.by_others
        );
    }
    if let Some(seen) = report.seen {
        let _ = writeln!(
            text,
            "  continues the checkpoint seen before: {seen} entries"
        );
    }
    if let Some(told) = report.told {
        let _ = writeln!(
            text,
            "  continues every checkpoint upstream: {}, of {} to {} entries",
            told.checkpoints, told.from, told.to
        );
    }
    for path in &report.not_covered {
        let _ = writeln!(text, "  not part of the log: {path}");
    }
    text
}

fn second(at_s: u64) -> String {
    rfc3339(
        i64::try_from(at_s)
            .unwrap_or(i64::MAX)
            .saturating_mul(1_000_000),
    )
}

fn as_json(log: &LogKey, report: &Report) -> serde_json::Value {
    let cosigned = report.cosigned.iter();
    let cosigned: Vec<_> = cosigned
        .map(|(witness, size, at_s)| json!({"witness": witness, "entries": size, "at": second(*at_s)}))
        .collect();
    json!({
        "origin": log.origin(),
        "entries": report.signed.size(),
        "tiles": report.tiles,
        "first": report.span_us.map(|(first, _)| rfc3339(first)),
        "last": report.span_us.map(|(_, last)| rfc3339(last)),
        "root_hash": report.signed.root().to_string(),
        "cosigned": cosigned,
        "cosigned_by_others": report.by_others,
        "continues_entries": report.seen,
        "upstream": report.told.map(told_json),
        "not_covered": report.not_covered,
    })
}

fn one(
    args: &VerifyArgs,
    proof: &Path,
    entry: &Path,
    log: &LogKey,
    witnesses: &[WitnessKey],
) -> Result<String, Failure> {
    let (proof, bytes) = (read_file(proof)?, read_file(entry)?);
    let proof = Proof::parse(&proof).map_err(not_verified)?;
    let signed = proof.check(&bytes, log, witnesses).map_err(not_verified)?;
    let by = signed.cosignatures();
    let has_cosigned = |witness: &&WitnessKey| by.iter().any(|(name, _)| name == witness.name());
    if let Some(missing) = witnesses.iter().find(|witness| !has_cosigned(witness)) {
        let witness = missing.name().to_owned();
        return Err(not_verified(Wrong::NotCosigned { witness }));
    }
    let entry = Entry::parse(proof.index, &bytes).map_err(failed)?;
    Ok(if args.json {
        let by = by.iter();
        let by: Vec<_> = by
            .map(|(witness, at_s)| json!({"witness": witness, "at": second(*at_s)}))
            .collect();
        let told = json!({
            "origin": log.origin(),
            "index": proof.index,
            "entry": entry,
            "entries": signed.size(),
            "cosigned": by,
        });
        format!("{told:#}\n")
    } else {
        proved(log, proof.index, &entry, &signed)
    })
}

fn proved(log: &LogKey, index: u64, entry: &Entry, signed: &Signed) -> String {
    let (origin, size, at) = (log.origin(), signed.size(), rfc3339(entry.at_us));
    let mut text = format!(
        "entry {index} is in the audit log of {origin}, which has {size} entries\n  {at}  {} {}\n",
        entry.who, entry.act
    );
    for (witness, at_s) in signed.cosignatures() {
        let _ = writeln!(text, "  cosigned by {witness}, at {}", second(*at_s));
    }
    text
}
