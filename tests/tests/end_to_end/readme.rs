//! What the documentation configures works: every configuration on its pages and in the examples
//! passes `check`, every test of rules beside them passes `test`, and README.md's delivers a record.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tidegate_tests::pages::{self, Block};
use tidegate_tests::ports;
use tidegate_tests::records;
use tidegate_tests::report::say;
use tidegate_tests::rig::{Rig, command, repository};
use tidegate_tests::simulation::Simulation;
use tidegate_tests::wall::wait_until;

/// The configuration that README.md shows, on ports of the test: a record arrives, and the books
/// are kept.
#[test]
fn the_configuration_of_the_readme_delivers_a_record() {
    let pages = pages::all(&repository());
    let readme = pages.iter().find(|page| page.name == "README.md");
    let blocks = readme.expect("there is a README").blocks();
    let configuration = blocks
        .into_iter()
        .find(is_configuration)
        .map(|block| {
            block
                .text
                .replace(":1883", &format!(":{}", ports::BROKER_PORT))
                .replace(":8080", &format!(":{}", ports::RECEIVER_PORT))
        })
        .expect("the README shows a configuration");
    let rig = Rig::free(&configuration);
    let mut gateway = rig.gateway(&[]);
    let mut plant = Simulation::plant("pump-1", rig.broker.port, 1, 300);
    "60".clone_into(&mut plant.speed);
    let simulation = plant.start(rig.path());
    wait_until("a record", Duration::from_secs(30), || {
        records::read(&rig.receiver.requests())
            .iter()
            .any(|one| one.taken && one.record.device == "pump-1")
    });
    rig.ledger();
    drop(simulation);
    assert!(gateway.stop(Duration::from_secs(20)).success());
}

#[test]
fn every_example_configuration_passes() {
    let dir = tempfile::tempdir().expect("a folder for temporary files");
    let mut files = examples(&repository().join("examples"));
    files.extend(examples(&repository().join("gateway/examples")));
    for page in pages::all(&repository()) {
        for block in page.blocks().iter().filter(|block| is_configuration(block)) {
            let name = format!("{}-{}.toml", page.name.replace('/', "-"), block.line);
            let file = dir.path().join(name);
            fs::write(&file, &block.text).expect("the folder takes a file");
            files.push(file);
        }
    }
    for file in &files {
        let name = file.to_string_lossy();
        let verb = if name.ends_with(".test.toml") {
            "test"
        } else {
            "check"
        };
        let finished = command(dir.path(), &[verb, &name]);
        assert!(
            finished.status.success(),
            "{name}: {}{}",
            finished.out,
            finished.err
        );
    }
    say(&format!(
        "readme: {} example configurations and tests of rules pass",
        files.len()
    ));
}

/// Whether a block is a whole configuration.
fn is_configuration(block: &Block) -> bool {
    block.language == "toml" && block.text.contains("[gateway]") && block.text.contains("[mqtt]")
}

fn examples(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let files = entries.map(|entry| entry.path());
    files
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect()
}
