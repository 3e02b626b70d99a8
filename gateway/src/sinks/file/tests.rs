//! The file sink on real files: torn, resent, failed, closed and closed halfway.

use std::fs;
use std::path::Path;

use super::*;
use crate::record::{Place, Record, RecordId, Value};
use crate::rules::Priority;
use crate::sinks::Waiting;
use crate::sinks::encoding::{Encoding, csv, tests::plain};

mod rotation;

/// 2020-02-08T13:30:00Z.
const NOW_US: i64 = 1_581_168_600_000_000;

fn record(number: u8) -> Record {
    Record {
        id: RecordId([number; 16]),
        values: vec![
            ("count".into(), Value::Count(u64::from(number))),
            ("spread".into(), Value::Counts(vec![1, 2])),
        ],
        ..plain()
    }
}

fn encoding(format: FileFormat) -> Encoding {
    match format {
        FileFormat::Csv => Encoding::Csv,
        FileFormat::Ndjson | FileFormat::Parquet => Encoding::Ndjson,
    }
}

fn batch_in(format: FileFormat, numbers: &[u8]) -> Batch {
    let waiting: Vec<_> = (0..)
        .zip(numbers)
        .map(|(index, number)| Waiting {
            index,
            place: Place::default(),
            record: record(*number),
        })
        .collect();
    let encoding = encoding(format);
    Batch::render(Priority::Normal, &waiting, 1_000, 1 << 20, &encoding).unwrap()
}

fn batch(numbers: &[u8]) -> Batch {
    batch_in(FileFormat::Ndjson, numbers)
}

/// What a file with these records holds.
fn content_in(format: FileFormat, numbers: &[u8]) -> String {
    let body = String::from_utf8(batch_in(format, numbers).body).unwrap();
    match format {
        FileFormat::Csv => csv::header() + &body,
        FileFormat::Ndjson | FileFormat::Parquet => body,
    }
}

fn content(numbers: &[u8]) -> String {
    content_in(FileFormat::Ndjson, numbers)
}

fn sink_in(format: FileFormat, path: &Path, rotation: Rotation) -> FileSink {
    FileSink::new(&FileSettings {
        path: path.to_owned(),
        format,
        rotation,
    })
}

fn sink(path: &Path) -> FileSink {
    sink_in(FileFormat::Ndjson, path, Rotation::default())
}

fn deliver(sink: &mut FileSink, numbers: &[u8]) -> Answer {
    let format = sink.names.format;
    sink.deliver(&batch_in(format, numbers), NOW_US)
}

fn path() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/er/records.ndjson");
    (folder, path)
}

#[test]
fn batches_are_appended_and_folders_made() {
    let (_folder, path) = path();
    let mut sink = sink(&path);
    let answer = deliver(&mut sink, &[1, 2]);
    assert_eq!(answer.outcome, Outcome::Confirmed);
    assert_eq!(answer.sent_bytes, batch(&[1, 2]).body.len() as u64);
    assert_eq!(deliver(&mut sink, &[3]).outcome, Outcome::Confirmed);
    assert_eq!(fs::read_to_string(&path).unwrap(), content(&[1, 2, 3]));
}

#[test]
fn a_tail_torn_anywhere_is_cut_and_a_batch_sent_again_is_whole_once() {
    for format in [FileFormat::Ndjson, FileFormat::Csv] {
        let whole = content_in(format, &[1, 2, 3]);
        // Around every line's end, and now and then within.
        let ends = whole.match_indices('\n').map(|(at, _)| at);
        let cuts = ends.flat_map(|end| end - 1..=end + 1);
        for cut in cuts.chain((0..whole.len()).step_by(61)) {
            let (_folder, path) = path();
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &whole[..cut]).unwrap();
            let mut sink = sink_in(format, &path, Rotation::default());
            let again = deliver(&mut sink, &[1, 2, 3, 4]);
            assert_eq!(again.outcome, Outcome::Confirmed);
            assert_eq!(
                fs::read_to_string(&path).unwrap(),
                content_in(format, &[1, 2, 3, 4]),
                "cut at {cut}"
            );
        }
    }
}

#[test]
fn a_record_torn_between_its_lines_gets_the_others_though_another_came_between() {
    let (_folder, path) = path();
    let whole = content_in(FileFormat::Csv, &[1]);
    let lines: Vec<_> = whole.split_inclusive('\n').collect();
    assert_eq!(lines.len(), 4);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, lines[..2].concat()).unwrap();
    let mut sink = sink_in(FileFormat::Csv, &path, Rotation::default());
    deliver(&mut sink, &[9]);
    deliver(&mut sink, &[1]);
    let other = String::from_utf8(batch_in(FileFormat::Csv, &[9]).body).unwrap();
    let expected = lines[..2].concat() + &other + &lines[2..].concat();
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);
}

#[test]
fn lines_of_another_class_between_crash_and_resend_do_not_double_it() {
    let (_folder, path) = path();
    deliver(&mut sink(&path), &[1, 2]);
    let mut sink = sink(&path);
    deliver(&mut sink, &[9]);
    assert_eq!(deliver(&mut sink, &[1, 2]).sent_bytes, 0);
    assert_eq!(fs::read_to_string(&path).unwrap(), content(&[1, 2, 9]));
}

#[test]
fn a_long_line_without_end_is_cut_back_to_the_line_before() {
    let (_folder, path) = path();
    deliver(&mut sink(&path), &[1]);
    let mut torn = content(&[1]).into_bytes();
    torn.extend(vec![b'x'; 200_000]);
    fs::write(&path, torn).unwrap();
    deliver(&mut sink(&path), &[2]);
    assert_eq!(fs::read_to_string(&path).unwrap(), content(&[1, 2]));
}

#[test]
fn what_a_failed_write_left_is_cut_off_before_the_next() {
    let (_folder, path) = path();
    let mut sink = sink(&path);
    deliver(&mut sink, &[1]);
    // As a failed fsync leaves it: written, whole, and not to be trusted.
    sink.keep = Some(sink.open.take().unwrap().kept());
    fs::write(&path, content(&[1, 2])).unwrap();
    assert_eq!(deliver(&mut sink, &[2, 3]).outcome, Outcome::Confirmed);
    assert_eq!(fs::read_to_string(&path).unwrap(), content(&[1, 2, 3]));
    assert!(sink.keep.is_none());
}

#[test]
fn a_file_moved_away_is_begun_anew_and_a_foreign_line_is_kept() {
    let (folder, path) = path();
    let mut sink = sink(&path);
    deliver(&mut sink, &[1]);
    let mut foreign = content(&[1]);
    foreign.push_str("a person's note\n");
    fs::write(&path, &foreign).unwrap();
    deliver(&mut sink, &[2]);
    assert_eq!(fs::read_to_string(&path).unwrap(), foreign + &content(&[2]));
    fs::rename(&path, folder.path().join("old")).unwrap();
    deliver(&mut sink, &[3]);
    assert_eq!(fs::read_to_string(&path).unwrap(), content(&[3]));
}

#[test]
fn a_path_that_is_a_folder_needs_a_person_and_works_once_corrected() {
    let (_folder, path) = path();
    fs::create_dir_all(&path).unwrap();
    let mut sink = sink(&path);
    let Outcome::Broken { why } = deliver(&mut sink, &[1]).outcome else {
        panic!("a folder is not a file");
    };
    assert!(why.contains("records.ndjson"), "{why}");
    fs::remove_dir(&path).unwrap();
    assert_eq!(deliver(&mut sink, &[1]).outcome, Outcome::Confirmed);
}
