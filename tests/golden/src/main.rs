//! `golden FOLDER`: derives the golden log's records on this target and compares them.
//!
//! Prints a line about every base. Exits 0 when all records are as they should be, else 1.

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

use tidegate_golden::{LOG, RECORDS, check, decode};

fn main() -> ExitCode {
    let Some(folder) = env::args().nth(1) else {
        eprintln!("usage: golden FOLDER");
        return ExitCode::from(2);
    };
    let folder = Path::new(&folder);
    let files = fs::read(folder.join(LOG)).and_then(|log| {
        let records = fs::read_to_string(folder.join(RECORDS))?;
        Ok((log, records))
    });
    let (log, records) = match files {
        Ok(files) => files,
        Err(error) => {
            eprintln!("{}: {error}", folder.display());
            return ExitCode::FAILURE;
        }
    };
    let wanted: Vec<String> = records.lines().map(str::to_owned).collect();
    match decode(&log).and_then(|log| check(&log, &wanted)) {
        Ok(report) => {
            print!("{report}");
            ExitCode::SUCCESS
        }
        Err(wrong) => {
            eprintln!("not as it should be: {wrong:?}");
            ExitCode::FAILURE
        }
    }
}
