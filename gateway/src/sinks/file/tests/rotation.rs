//! Files closed by size and age, and every moment at which closing can be cut off.

use std::time::UNIX_EPOCH;

use super::*;

const DAY_MS: u64 = 86_400_000;

fn by_size(format: FileFormat, path: &Path, bytes_max: u64) -> FileSink {
    let rotation = Rotation {
        bytes_max: Some(bytes_max),
        ..Rotation::default()
    };
    sink_in(format, path, rotation)
}

/// The files beside the path, by name.
fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(path.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn text(path: &Path, name: &str) -> String {
    fs::read_to_string(path.with_file_name(name)).unwrap()
}

#[test]
fn a_file_that_would_be_too_large_is_closed_under_its_time_and_no_name_comes_twice() {
    for format in [FileFormat::Ndjson, FileFormat::Csv] {
        let (_folder, path) = path();
        let bytes = content_in(format, &[1, 2]).len() as u64;
        let mut sink = by_size(format, &path, bytes);
        for number in 1..=5 {
            let outcome = deliver(&mut sink, &[number]).outcome;
            assert_eq!(outcome, Outcome::Confirmed);
        }
        let closed = [
            "records-20200208T133000Z-1.ndjson",
            "records-20200208T133000Z.ndjson",
            "records.ndjson",
        ];
        assert_eq!(names(&path), closed);
        let expected = [[3, 4].as_slice(), &[1, 2], &[5]];
        for (name, numbers) in closed.iter().zip(expected) {
            assert_eq!(text(&path, name), content_in(format, numbers), "{name}");
        }
    }
}

#[test]
fn a_file_is_closed_when_a_record_comes_a_day_after_its_first() {
    let (_folder, path) = path();
    let rotation = Rotation {
        age_max_ms: Some(DAY_MS),
        ..Rotation::default()
    };
    let day_us = DAY_MS as i64 * 1_000;
    let mut sink = sink_in(FileFormat::Ndjson, &path, rotation);
    for (number, after_us) in [(1, 0), (2, day_us - 1), (3, day_us), (4, 2 * day_us - 1)] {
        sink.deliver(&batch(&[number]), NOW_US + after_us);
    }
    assert_eq!(
        text(&path, "records-20200209T133000Z.ndjson"),
        content(&[1, 2])
    );
    assert_eq!(text(&path, "records.ndjson"), content(&[3, 4]));
}

#[test]
fn a_restart_does_not_make_a_file_young_again() {
    let (_folder, path) = path();
    deliver(&mut sink(&path), &[1]);
    let metadata = fs::metadata(&path).unwrap();
    let made = metadata.created().or_else(|_| metadata.modified()).unwrap();
    let made_us = made.duration_since(UNIX_EPOCH).unwrap().as_micros() as i64;
    let rotation = Rotation {
        age_max_ms: Some(1_000),
        ..Rotation::default()
    };
    let mut sink = sink_in(FileFormat::Ndjson, &path, rotation);
    sink.deliver(&batch(&[2]), made_us + 999_000);
    assert_eq!(names(&path).len(), 1);
    sink.deliver(&batch(&[3]), made_us + 1_000_000);
    assert_eq!(names(&path).len(), 2);
    assert_eq!(text(&path, "records.ndjson"), content(&[3]));
}

#[test]
fn the_newest_closed_files_are_kept_and_foreign_ones_left_alone() {
    let (_folder, path) = path();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let foreign = ["records-old.ndjson", "records-20200101T000000Z.csv", "a"];
    for name in foreign {
        fs::write(path.with_file_name(name), "").unwrap();
    }
    let rotation = Rotation {
        bytes_max: Some(1),
        files_max: Some(2),
        ..Rotation::default()
    };
    let mut sink = sink_in(FileFormat::Ndjson, &path, rotation);
    // 13 within one second: -9 is older than -10.
    for number in 1..=13 {
        deliver(&mut sink, &[number]);
    }
    let mut expected = vec![
        "records-20200208T133000Z-10.ndjson".to_owned(),
        "records-20200208T133000Z-11.ndjson".to_owned(),
        "records.ndjson".to_owned(),
    ];
    expected.extend(foreign.map(String::from));
    expected.sort();
    assert_eq!(names(&path), expected);
    assert_eq!(
        text(&path, "records-20200208T133000Z-11.ndjson"),
        content(&[12])
    );
}

#[test]
fn a_batch_sent_again_after_its_file_was_closed_does_not_double() {
    for format in [FileFormat::Ndjson, FileFormat::Csv] {
        let (_folder, path) = path();
        deliver(&mut by_size(format, &path, 1), &[1, 2]);
        // After a crash another class comes first, and closes the file; then another crash.
        deliver(&mut by_size(format, &path, 1), &[9]);
        let mut sink = by_size(format, &path, 1);
        assert_eq!(deliver(&mut sink, &[1, 2]).sent_bytes, 0);
        assert_eq!(
            names(&path),
            ["records-20200208T133000Z.ndjson", "records.ndjson"]
        );
    }
}

#[test]
fn a_name_without_extension_and_one_with_dots_are_closed_as_they_are() {
    for (name, closed) in [
        ("records", "records-20200208T133000Z"),
        ("a.b.log", "a.b-20200208T133000Z.log"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let mut sink = by_size(FileFormat::Ndjson, &path, 1);
        deliver(&mut sink, &[1]);
        deliver(&mut sink, &[2]);
        assert_eq!(text(&path, closed), content(&[1]));
    }
}

#[cfg(feature = "parquet")]
mod parquet {
    use ::parquet::file::reader::{FileReader, SerializedFileReader};
    use ::parquet::record::{Field, RowAccessor};

    use super::*;
    use crate::sinks::encoding::tests::examples;

    const FIRST: &str = "records-20200208T133000Z.parquet";
    const OPEN: &str = "records.open.ndjson";

    fn place() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records.parquet");
        (folder, path)
    }

    /// The rows of a file, as (id, name, value).
    fn rows(path: &Path) -> Vec<(String, String, f64)> {
        let reader = SerializedFileReader::new(fs::File::open(path).unwrap()).unwrap();
        let rows = reader.get_row_iter(None).unwrap().map(|row| {
            let row = row.unwrap();
            (
                row.get_string(0).unwrap().clone(),
                row.get_string(19).cloned().unwrap_or_default(),
                row.get_double(20).unwrap_or(f64::NAN),
            )
        });
        rows.collect()
    }

    fn expected(numbers: &[u8]) -> Vec<(String, String, f64)> {
        let rows = numbers.iter().flat_map(|number| {
            let id = RecordId([*number; 16]).to_string();
            [
                ("count", f64::from(*number)),
                ("spread.0", 1.0),
                ("spread.1", 2.0),
            ]
            .map(|(name, value)| (id.clone(), name.to_owned(), value))
        });
        rows.collect()
    }

    #[test]
    fn lines_become_columns_when_the_file_is_closed() {
        let (_folder, path) = place();
        let mut sink = by_size(FileFormat::Parquet, &path, 1);
        deliver(&mut sink, &[1, 2]);
        assert_eq!(names(&path), [OPEN]);
        deliver(&mut sink, &[3]);
        assert_eq!(names(&path), [FIRST, OPEN]);
        assert_eq!(rows(&path.with_file_name(FIRST)), expected(&[1, 2]));
        assert_eq!(text(&path, OPEN), content(&[3]));
    }

    #[test]
    fn columns_hold_what_the_csv_does() {
        let (_folder, path) = place();
        let waiting: Vec<_> = (0..)
            .zip(examples())
            .map(|(index, record)| Waiting {
                index,
                place: Place::default(),
                record,
            })
            .collect();
        let all = Batch::render(
            Priority::Normal,
            &waiting,
            1_000,
            1 << 20,
            &Encoding::Ndjson,
        )
        .unwrap();
        let mut sink = by_size(FileFormat::Parquet, &path, 1);
        sink.deliver(&all, NOW_US);
        deliver(&mut sink, &[99]);
        let file = fs::File::open(path.with_file_name(FIRST)).unwrap();
        let reader = SerializedFileReader::new(file).unwrap();
        let at_note = csv::COLUMNS
            .iter()
            .position(|name| *name == "note")
            .unwrap();
        let found: Vec<Vec<String>> = reader
            .get_row_iter(None)
            .unwrap()
            .map(|row| row.unwrap().get_column_iter().map(shown).collect())
            .map(|mut row: Vec<String>| {
                // A column has texts as they are, the CSV's are of one line.
                row[at_note] = row[at_note].replace('\\', "\\\\").replace('\n', "\\n");
                row
            })
            .collect();
        let mut lines = csv::header().into_bytes();
        for record in examples() {
            csv::encode(&record, &mut lines);
        }
        let mut reader = ::csv::Reader::from_reader(lines.as_slice());
        let expected: Vec<Vec<String>> = reader
            .records()
            .map(|row| row.unwrap().iter().map(String::from).collect())
            .collect();
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            let (value, rest) = found.split_last().unwrap();
            let (expected_value, expected_rest) = expected.split_last().unwrap();
            assert_eq!(rest, expected_rest);
            assert_eq!(value.parse::<f64>().ok(), expected_value.parse().ok());
        }
    }

    /// A column's value as the CSV writes it.
    fn shown((_, field): (&String, &Field)) -> String {
        match field {
            Field::Null => String::new(),
            Field::Str(text) => text.clone(),
            Field::Bool(truth) => truth.to_string(),
            Field::Long(whole) => whole.to_string(),
            Field::TimestampMicros(us) => crate::record::rfc3339(*us),
            Field::Double(real) => format!("{real:?}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_a_word_a_file_is_made_each_day() {
        let (_folder, path) = place();
        let mut sink = sink_in(FileFormat::Parquet, &path, Rotation::default());
        deliver(&mut sink, &[1]);
        let day_us = PARQUET_AGE_MS as i64 * 1_000;
        sink.deliver(&batch(&[2]), NOW_US + day_us - 1);
        assert_eq!(names(&path), [OPEN]);
        sink.deliver(&batch(&[3]), NOW_US + day_us);
        let made = path.with_file_name("records-20200209T133000Z.parquet");
        assert_eq!(rows(&made), expected(&[1, 2]));
    }

    /// Everything that closing does, one step after the other, each of them the last.
    #[test]
    fn closing_cut_off_anywhere_is_finished_and_nothing_comes_twice() {
        let (_folder, whole) = place();
        let mut sink = by_size(FileFormat::Parquet, &whole, 1);
        deliver(&mut sink, &[1, 2]);
        deliver(&mut sink, &[3]);
        let made = fs::read(whole.with_file_name(FIRST)).unwrap();
        let closing = "records-20200208T133000Z.closing.ndjson";
        let partial = "records-20200208T133000Z.partial";
        let lines = content(&[1, 2]).into_bytes();
        let stages: [&[(&str, &[u8])]; 5] = [
            &[(OPEN, &lines)],
            &[(closing, &lines)],
            &[(closing, &lines), (partial, &made[..made.len() / 2])],
            &[(closing, &lines), (partial, &made)],
            &[(closing, &lines), (FIRST, &made)],
        ];
        for (at, files) in stages.iter().enumerate() {
            let (_folder, path) = place();
            for (name, content) in *files {
                fs::write(path.with_file_name(name), content).unwrap();
            }
            let mut sink = by_size(FileFormat::Parquet, &path, 1);
            // Sent again after the crash, then what comes next.
            assert_eq!(deliver(&mut sink, &[1, 2]).sent_bytes, 0, "stage {at}");
            let next = deliver(&mut sink, &[3]);
            assert_eq!(next.outcome, Outcome::Confirmed);
            assert_eq!(names(&path), [FIRST, OPEN], "stage {at}");
            assert_eq!(rows(&path.with_file_name(FIRST)), expected(&[1, 2]));
            assert_eq!(text(&path, OPEN), content(&[3]));
        }
    }

    #[test]
    fn a_line_that_is_no_record_is_left_out_and_kept_beside() {
        let (_folder, path) = place();
        let mut foreign = content(&[1]);
        foreign.push_str("a person's note\n");
        fs::write(path.with_file_name(OPEN), &foreign).unwrap();
        let mut sink = by_size(FileFormat::Parquet, &path, 1);
        deliver(&mut sink, &[2]);
        assert_eq!(rows(&path.with_file_name(FIRST)), expected(&[1]));
        let unread = "records-20200208T133000Z.unread.ndjson";
        assert_eq!(text(&path, unread), foreign);
        deliver(&mut sink, &[3]);
        assert_eq!(names(&path).len(), 4);
    }

    #[test]
    fn many_rows_are_several_groups_and_the_last_ones_are_known() {
        let (_folder, path) = place();
        let mut lines = String::new();
        let count = 30_000_u32;
        for number in 0..count {
            let mut id = [0; 16];
            id[12..].copy_from_slice(&number.to_be_bytes());
            let record = Record {
                id: RecordId(id),
                ..record(7)
            };
            lines.push_str(&crate::record::to_json(&record));
            lines.push('\n');
        }
        let closing = path.with_file_name("records-20200208T133000Z.closing.ndjson");
        fs::write(&closing, lines).unwrap();
        let names = Names::new(&path, FileFormat::Parquet);
        names.finish_closing().unwrap();
        let file = fs::File::open(path.with_file_name(FIRST)).unwrap();
        let reader = SerializedFileReader::new(file).unwrap();
        assert_eq!(reader.num_row_groups(), 2);
        let rows = reader.metadata().file_metadata().num_rows();
        assert_eq!(rows, i64::from(count) * 3);
        let tail = names.newest_closed_tail(TAIL_BYTES).unwrap();
        assert_eq!(tail.get(&u128::from(count - 1)), Some(&1));
        assert_eq!(tail.len(), count as usize);
    }
}
