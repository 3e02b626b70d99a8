//! The file sink on real files, torn and resent.

use super::*;
use crate::record::{Place, example};
use crate::rules::Priority;
use crate::sinks::Waiting;
use crate::sinks::encoding::Encoding;

fn batch(numbers: &[u8]) -> Batch {
    let waiting: Vec<_> = (0..)
        .zip(numbers)
        .map(|(index, number)| Waiting {
            index,
            place: Place::default(),
            record: example(*number),
        })
        .collect();
    Batch::render(Priority::Normal, &waiting, 100, 1 << 20, &Encoding::Ndjson).unwrap()
}

fn content(numbers: &[u8]) -> String {
    String::from_utf8(batch(numbers).body).unwrap()
}

fn path() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/er/records.ndjson");
    (folder, path)
}

#[test]
fn batches_are_appended_and_folders_made() {
    let (_folder, path) = path();
    let mut sink = FileSink::new(&path);
    let answer = sink.deliver(&batch(&[1, 2]));
    assert_eq!(answer.outcome, Outcome::Confirmed);
    assert_eq!(answer.sent_bytes, batch(&[1, 2]).body.len() as u64);
    assert_eq!(sink.deliver(&batch(&[3])).outcome, Outcome::Confirmed);
    assert_eq!(fs::read_to_string(&path).unwrap(), content(&[1, 2, 3]));
}

#[test]
fn a_tail_torn_anywhere_is_cut_and_a_batch_sent_again_is_whole_once() {
    let whole = content(&[1, 2, 3]);
    for cut in 0..=whole.len() {
        let (_folder, path) = path();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &whole[..cut]).unwrap();
        let mut sink = FileSink::new(&path);
        let again = sink.deliver(&batch(&[1, 2, 3, 4]));
        assert_eq!(again.outcome, Outcome::Confirmed);
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            content(&[1, 2, 3, 4]),
            "cut at {cut}"
        );
    }
}

#[test]
fn lines_of_another_class_between_crash_and_resend_do_not_double_it() {
    let (_folder, path) = path();
    FileSink::new(&path).deliver(&batch(&[1, 2]));
    let mut sink = FileSink::new(&path);
    sink.deliver(&batch(&[9]));
    assert_eq!(sink.deliver(&batch(&[1, 2])).sent_bytes, 0);
    assert_eq!(fs::read_to_string(&path).unwrap(), content(&[1, 2, 9]));
}

#[test]
fn a_long_line_without_end_is_cut_back_to_the_line_before() {
    let (_folder, path) = path();
    FileSink::new(&path).deliver(&batch(&[1]));
    let mut torn = content(&[1]).into_bytes();
    torn.extend(vec![b'x'; 200_000]);
    fs::write(&path, torn).unwrap();
    FileSink::new(&path).deliver(&batch(&[2]));
    assert_eq!(fs::read_to_string(&path).unwrap(), content(&[1, 2]));
}

#[test]
fn what_a_failed_write_left_is_cut_off_before_the_next() {
    let (_folder, path) = path();
    let mut sink = FileSink::new(&path);
    sink.deliver(&batch(&[1]));
    // As a failed fsync leaves it: written, whole, and not to be trusted.
    let open = sink.open.take().unwrap();
    sink.keep = Some(Kept {
        bytes: open.bytes,
        inode: open.inode,
    });
    fs::write(&path, content(&[1, 2])).unwrap();
    assert_eq!(sink.deliver(&batch(&[2, 3])).outcome, Outcome::Confirmed);
    assert_eq!(fs::read_to_string(&path).unwrap(), content(&[1, 2, 3]));
    assert!(sink.keep.is_none());
}

#[test]
fn a_rotated_file_is_begun_anew_and_a_foreign_line_is_kept() {
    let (folder, path) = path();
    let mut sink = FileSink::new(&path);
    sink.deliver(&batch(&[1]));
    let mut foreign = content(&[1]);
    foreign.push_str("a person's note\n");
    fs::write(&path, &foreign).unwrap();
    sink.deliver(&batch(&[2]));
    assert_eq!(fs::read_to_string(&path).unwrap(), foreign + &content(&[2]));
    fs::rename(&path, folder.path().join("old")).unwrap();
    sink.deliver(&batch(&[3]));
    assert_eq!(fs::read_to_string(&path).unwrap(), content(&[3]));
}

#[test]
fn a_path_that_is_a_folder_needs_a_person_and_works_once_corrected() {
    let (_folder, path) = path();
    fs::create_dir_all(&path).unwrap();
    let mut sink = FileSink::new(&path);
    let Outcome::Broken { why } = sink.deliver(&batch(&[1])).outcome else {
        panic!("a folder is not a file");
    };
    assert!(why.contains("records.ndjson"), "{why}");
    fs::remove_dir(&path).unwrap();
    assert_eq!(sink.deliver(&batch(&[1])).outcome, Outcome::Confirmed);
}
