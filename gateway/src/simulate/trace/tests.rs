//! Traces as people have them.

use std::io::Write;

use tempfile::NamedTempFile;

use super::*;
use crate::simulate::args::BrokerAddress;

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn args() -> SimulateArgs {
    SimulateArgs::plant(
        "d",
        "s",
        BrokerAddress {
            host: "h".to_owned(),
            port: 1,
            is_secure: false,
        },
    )
}

fn open(text: &str, args: &SimulateArgs) -> Result<Trace, SimulateError> {
    Trace::open(file(text).path(), args)
}

/// Seconds after 2020-01-01, and raws.
type Told = (i64, Vec<Option<i64>>);

/// All rows, and how many were skipped.
fn rows(text: &str, args: &SimulateArgs) -> (Vec<Told>, u64) {
    let file = file(text);
    let trace = Trace::open(file.path(), args).unwrap();
    let mut rows = trace.rows().unwrap();
    let (mut row, mut all) = (Row::default(), Vec::new());
    while rows.next(&mut row).unwrap() {
        all.push((
            (row.utc_us - 1_577_836_800_000_000) / 1_000_000,
            row.raws.clone(),
        ));
    }
    (all, rows.skipped)
}

#[test]
fn a_trace_is_understood_without_being_told_anything() {
    let text = "datetime;Pressure;Volume Flow RateRMS;state\n\
                2020-01-01 00:00:01;0.054711;32.0;ok\n\
                2020-01-01 00:00:02;-0.27;1.5e-1;ok\n";
    let trace = open(text, &args()).unwrap();
    let told: Vec<_> = trace
        .columns
        .iter()
        .map(|column| (column.name.as_str(), column.resolution.exponent))
        .collect();
    assert_eq!(told, [("Pressure", -6), ("Volume_Flow_RateRMS", -2)]);
    assert_eq!(trace.left_out, ["state"]);
    assert_eq!(trace.rows, 2);
    let (rows, skipped) = rows(text, &args());
    let expected = [
        (1, vec![Some(54_711), Some(3_200)]),
        (2, vec![Some(-270_000), Some(15)]),
    ];
    assert_eq!(rows, expected);
    assert_eq!(skipped, 0);
}

#[test]
fn empty_cells_and_nan_are_failed_readings() {
    let text = "time,a,b\n1577836801,1,NaN\n1577836802,,2\n1577836803,nan,1e40\n";
    let (rows, _) = rows(text, &args());
    let raws: Vec<_> = rows.into_iter().map(|(_, raws)| raws).collect();
    assert_eq!(raws[0], [Some(1), None]);
    assert_eq!(raws[1], [None, Some(2)]);
    assert_eq!(raws[2], [None, None], "beyond any raw value");
}

#[test]
fn rows_that_do_not_move_on_are_left_out_and_counted() {
    let text = "ts\tv\n1577836801\t1\n1577836801\t2\n1577836800\t3\n1577836802\t4\n";
    let (rows, skipped) = rows(text, &args());
    assert_eq!(rows, [(1, vec![Some(1)]), (2, vec![Some(4)])]);
    assert_eq!(skipped, 2);
}

#[test]
fn what_is_said_wins_over_what_is_guessed() {
    let text = "when,a b,c,d\n2020-01-01T02:00:00+02:00,1.26,2,3\n";
    let said = SimulateArgs {
        columns: vec!["a b".to_owned(), "d".to_owned()],
        resolution: vec!["a_b=0.05".parse().unwrap()],
        unit: vec!["d=bar".parse().unwrap()],
        ..args()
    };
    let trace = open(text, &said).unwrap();
    let told: Vec<_> = trace
        .columns
        .iter()
        .map(|one| (one.name.as_str(), one.unit.as_str(), one.resolution.step))
        .collect();
    assert_eq!(told, [("a_b", "", 5), ("d", "bar", 1)]);
    assert_eq!(rows(text, &said).0, [(0, vec![Some(25), Some(3)])]);
}

#[test]
fn mistakes_are_told_by_name() {
    let text = "datetime,a,label\n2020-01-01 00:00:00,1,x\n";
    let wrong = |change: fn(&mut SimulateArgs)| {
        let mut args = args();
        change(&mut args);
        open(text, &args).unwrap_err().to_string()
    };
    let told = wrong(|args| args.columns = vec!["b".to_owned()]);
    assert_eq!(
        told,
        "the trace has no column \"b\"; it has datetime, a, label"
    );
    let told = wrong(|args| args.columns = vec!["label".to_owned()]);
    assert_eq!(
        told,
        "column \"label\" is not numeric: line 2 has \"x\"; leave it out of --columns"
    );
    let told = wrong(|args| args.time_column = Some("t".to_owned()));
    assert!(told.contains("no column \"t\""), "{told}");
    assert!(matches!(
        open("a,b\n1,2\n", &args()),
        Err(SimulateError::NoTime { .. })
    ));
    assert!(matches!(
        open("time,b\n1,x\n", &args()),
        Err(SimulateError::NoSensors { .. })
    ));
    assert!(matches!(
        open("time\n", &args()),
        Err(SimulateError::NoTime { .. })
    ));
    let missing = Trace::open(Path::new("/nowhere.csv"), &args());
    assert!(matches!(
        missing,
        Err(SimulateError::TraceUnreadable { .. })
    ));
}

#[test]
fn a_row_that_is_none_is_told_with_its_line() {
    let text = "time,a\n1,2\n3\n";
    assert!(matches!(
        open(text, &args()),
        Err(SimulateError::Row { line: 3, .. })
    ));
    let text = "datetime,a\n2020-01-01 00:00:00,1\nsoon,2\n";
    let file = file(text);
    let trace = Trace::open(file.path(), &args()).unwrap();
    let (mut rows, mut row) = (trace.rows().unwrap(), Row::default());
    assert!(rows.next(&mut row).unwrap());
    assert!(matches!(
        rows.next(&mut row),
        Err(SimulateError::Time { line: 3, .. })
    ));
}

#[test]
fn the_real_trace_is_understood() {
    let Some(data) = std::env::var_os("TIDEGATE_DATA") else {
        println!("left out: TIDEGATE_DATA is not set");
        return;
    };
    let path = Path::new(&data).join("skab/anomaly-free.csv");
    let trace = Trace::open(&path, &args()).unwrap();
    assert_eq!((trace.columns.len(), trace.rows), (8, 9_405));
    let (mut rows, mut row, mut count) = (trace.rows().unwrap(), Row::default(), 0);
    while rows.next(&mut row).unwrap() {
        assert!(row.raws.iter().all(Option::is_some));
        count += 1;
    }
    assert_eq!((count, rows.skipped), (9_405, 0));
}
