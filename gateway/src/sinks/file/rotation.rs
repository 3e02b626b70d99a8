//! Closing: the names of closed files, which of them are kept, and making Parquet of lines.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::open::{Tail, lines_by_id};
use super::{folder_of, sync_folder};
use crate::rules::settings::FileFormat;

/// What a file of lines is called while Parquet is made of it.
const CLOSING: &str = "closing.ndjson";
/// What a Parquet file is called that is not whole yet.
const PARTIAL: &str = "partial";
/// What a file of lines is called of which some could not be read.
const UNREAD: &str = "unread.ndjson";
/// Signs of a time in a name.
const TIME_SIGNS: usize = "20200208T133000Z".len();

/// Where a closed file stands among the others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    /// When it was closed, `20200208T133000Z`.
    time: String,
    /// How many were closed within the same second before it.
    number: u64,
}

/// The names of a sink's files.
#[derive(Debug)]
pub(super) struct Names {
    /// What is appended to.
    pub open: PathBuf,
    /// What its lines are.
    pub format: FileFormat,
    folder: PathBuf,
    stem: String,
    extension: String,
}

impl Names {
    /// The names around a configured path.
    pub fn new(path: &Path, format: FileFormat) -> Self {
        let text = |part: Option<&OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
        let stem = text(path.file_stem());
        let open = match format {
            FileFormat::Ndjson | FileFormat::Csv => path.to_owned(),
            FileFormat::Parquet => path.with_file_name(format!("{stem}.open.ndjson")),
        };
        Self {
            open,
            format,
            folder: folder_of(path),
            stem,
            extension: text(path.extension()),
        }
    }

    /// Closes the open file: it has a name with the time afterwards, and those that are more than
    /// `files_max` are removed.
    pub fn close(&self, wall_us: i64, files_max: Option<u64>) -> io::Result<()> {
        let place = self.unused(wall_us)?;
        let closed = self.path(&place, &self.extension);
        match self.format {
            FileFormat::Ndjson | FileFormat::Csv => {
                fs::rename(&self.open, &closed)?;
                sync_folder(&closed)?;
            }
            FileFormat::Parquet => {
                fs::rename(&self.open, self.path(&place, CLOSING))?;
                sync_folder(&closed)?;
                self.finish(&place)?;
            }
        }
        tracing::info!(path = %closed.display(), "closed a file of records");
        if let Some(files_max) = files_max {
            self.remove_all_but(files_max);
        }
        Ok(())
    }

    /// Makes Parquet of what waits for it: after a crash, or a failed attempt.
    pub fn finish_closing(&self) -> io::Result<()> {
        if self.format == FileFormat::Parquet {
            for place in self.places(CLOSING)? {
                self.finish(&place)?;
            }
        }
        Ok(())
    }

    /// How many lines of each id the newest closed file has, in its last `bytes`; of Parquet, in
    /// its last rows.
    pub fn newest_closed_tail(&self, bytes: u64) -> io::Result<Tail> {
        let Some(newest) = self.places(&self.extension)?.pop() else {
            return Ok(Tail::new());
        };
        let newest = self.path(&newest, &self.extension);
        match self.format {
            FileFormat::Ndjson | FileFormat::Csv => {
                let mut file = File::open(newest)?;
                let end = file.metadata()?.len();
                lines_by_id(&mut file, end, bytes, self.format)
            }
            FileFormat::Parquet => columns_tail(&newest),
        }
    }

    /// Converts lines to a closed file, whole or not at all, and removes them.
    fn finish(&self, place: &Place) -> io::Result<()> {
        let closing = self.path(place, CLOSING);
        let closed = self.path(place, &self.extension);
        let unread = if closed.try_exists()? {
            // Renamed already, so whole: only the lines were not removed.
            count_unread(&closing)?
        } else {
            let partial = self.path(place, PARTIAL);
            let unread = convert(&closing, &partial)?;
            fs::rename(&partial, &closed)?;
            sync_folder(&closed)?;
            unread
        };
        if unread > 0 {
            let kept = self.path(place, UNREAD);
            tracing::warn!(
                path = %kept.display(),
                lines = unread,
                "lines that are no records were left out of the Parquet file; all lines are kept here"
            );
            fs::rename(&closing, kept)?;
        } else {
            fs::remove_file(&closing)?;
        }
        sync_folder(&closed)
    }

    /// Removes the oldest closed files. One that cannot be removed stays, and is told.
    fn remove_all_but(&self, files_max: u64) {
        let closed = self.places(&self.extension).unwrap_or_default();
        let kept = usize::try_from(files_max).unwrap_or(usize::MAX);
        let surplus = closed.len().saturating_sub(kept);
        for place in closed.iter().take(surplus) {
            let path = self.path(place, &self.extension);
            match fs::remove_file(&path) {
                Ok(()) => tracing::info!(path = %path.display(), "removed the oldest closed file"),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "an old file cannot be removed");
                }
            }
        }
    }

    /// A place behind all of this second, removed ones' numbers not taken again.
    fn unused(&self, wall_us: i64) -> io::Result<Place> {
        let time = Timestamp::from_microsecond(wall_us)
            .unwrap_or(Timestamp::UNIX_EPOCH)
            .strftime("%Y%m%dT%H%M%SZ")
            .to_string();
        let mut taken = self.places(&self.extension)?;
        taken.extend(self.places(CLOSING)?);
        taken.extend(self.places(UNREAD)?);
        let of_second = taken.iter().filter(|place| place.time == time);
        let number = of_second.map(|place| place.number + 1).max().unwrap_or(0);
        Ok(Place { time, number })
    }

    fn path(&self, place: &Place, extension: &str) -> PathBuf {
        let number = match place.number {
            0 => String::new(),
            number => format!("-{number}"),
        };
        let dot = if extension.is_empty() { "" } else { "." };
        let name = format!("{}-{}{number}{dot}{extension}", self.stem, place.time);
        self.folder.join(name)
    }

    /// Where this sink has files `NAME-TIME[-N].EXTENSION`, oldest first.
    fn places(&self, extension: &str) -> io::Result<Vec<Place>> {
        let mut places = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            places.extend(name.to_str().and_then(|name| self.place(name, extension)));
        }
        places.sort();
        Ok(places)
    }

    /// The place in the name of a file of this sink.
    fn place(&self, name: &str, extension: &str) -> Option<Place> {
        let rest = name.strip_prefix(&self.stem)?.strip_prefix('-')?;
        let rest = match extension {
            "" => rest,
            extension => rest.strip_suffix(extension)?.strip_suffix('.')?,
        };
        let (time, number) = rest.split_at_checked(TIME_SIGNS)?;
        let is_time = time.bytes().enumerate().all(|(at, byte)| match at {
            8 => byte == b'T',
            15 => byte == b'Z',
            _ => byte.is_ascii_digit(),
        });
        let number = match number {
            "" => 0,
            number => number.strip_prefix('-')?.parse().ok()?,
        };
        is_time.then(|| Place {
            time: time.to_owned(),
            number,
        })
    }
}

#[cfg(feature = "parquet")]
fn convert(closing: &Path, partial: &Path) -> io::Result<u64> {
    let lines = io::BufReader::new(File::open(closing)?);
    let file = File::create(partial)?;
    let unread = super::columns::write(lines, &file)?;
    file.sync_all()?;
    Ok(unread)
}

#[cfg(feature = "parquet")]
fn count_unread(closing: &Path) -> io::Result<u64> {
    super::columns::count_unread(io::BufReader::new(File::open(closing)?))
}

#[cfg(feature = "parquet")]
fn columns_tail(path: &Path) -> io::Result<Tail> {
    super::columns::tail(File::open(path)?)
}

/// Without Parquet no sink of it is made.
#[cfg(not(feature = "parquet"))]
fn convert(_: &Path, _: &Path) -> io::Result<u64> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(feature = "parquet"))]
fn count_unread(_: &Path) -> io::Result<u64> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(feature = "parquet"))]
fn columns_tail(_: &Path) -> io::Result<Tail> {
    Err(io::ErrorKind::Unsupported.into())
}
