//! The state file: incarnation and boot counter of each simulated device, as a board keeps them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tidegate_firmware::shell::Entropy;
use tidegate_shared::ids::{DeviceName, Incarnation};

use super::SimulateError;

/// One device's identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    /// Never 0.
    pub(super) incarnation: u32,
    /// Starts, counted from 1.
    pub(super) boot: u32,
}

/// Identities by device, in a file if one was given.
#[derive(Debug)]
pub(super) struct State {
    path: Option<PathBuf>,
    devices: RefCell<BTreeMap<String, Known>>,
}

impl State {
    /// Reads the file; one that does not exist yet is empty.
    pub(super) fn open(path: Option<&Path>) -> Result<Self, SimulateError> {
        let devices = match path.map(|path| (path, fs::read(path))) {
            None => BTreeMap::new(),
            Some((_, Err(error))) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Some((path, Err(source))) => {
                return Err(SimulateError::State {
                    path: path.to_owned(),
                    source,
                });
            }
            Some((path, Ok(bytes))) => {
                serde_json::from_slice(&bytes).map_err(|source| SimulateError::StateContent {
                    path: path.to_owned(),
                    source,
                })?
            }
        };
        Ok(Self {
            path: path.map(Path::to_owned),
            devices: RefCell::new(devices),
        })
    }

    /// Begins a boot of each device, before anything is sent under it.
    pub(super) fn begin(
        &self,
        devices: &[DeviceName],
        entropy: &mut impl Entropy,
    ) -> Result<Vec<Known>, SimulateError> {
        let mut begun = Vec::with_capacity(devices.len());
        for device in devices {
            let mut known = self.devices.borrow_mut();
            let one = known
                .entry(device.as_str().to_owned())
                .or_insert_with(|| Known {
                    incarnation: entropy.draw().max(1),
                    boot: 0,
                });
            one.boot = one.boot.saturating_add(1);
            begun.push(*one);
        }
        self.write()?;
        Ok(begun)
    }

    /// Remembers that a device drew a new incarnation.
    pub(super) fn rename(
        &self,
        device: &DeviceName,
        incarnation: Incarnation,
    ) -> Result<(), SimulateError> {
        if let Some(known) = self.devices.borrow_mut().get_mut(device.as_str()) {
            known.incarnation = incarnation.0;
        }
        self.write()
    }

    fn write(&self) -> Result<(), SimulateError> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        let error = |source| SimulateError::State {
            path: path.clone(),
            source,
        };
        let bytes = serde_json::to_vec_pretty(&*self.devices.borrow())
            .map_err(|source| error(source.into()))?;
        let mut aside = path.clone().into_os_string();
        aside.push(".new");
        let write = || {
            let mut file = File::create(&aside)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&aside, path)
        };
        write().map_err(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Dice(u32);

    impl Entropy for Dice {
        fn draw(&mut self) -> u32 {
            self.0 += 1;
            self.0
        }
    }

    fn device(name: &str) -> DeviceName {
        DeviceName::try_from(name).unwrap()
    }

    #[test]
    fn a_boot_counts_on_and_the_incarnation_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        let begin = |names: &[DeviceName], dice| {
            let state = State::open(Some(&path)).unwrap();
            (state.begin(names, &mut Dice(dice)).unwrap(), state)
        };
        let known = |incarnation, boot| Known { incarnation, boot };
        let (first, _) = begin(&[device("a")], 6);
        assert_eq!(first, [known(7, 1)]);
        let (second, state) = begin(&[device("a"), device("b")], 20);
        assert_eq!(second, [known(7, 2), known(21, 1)]);
        state.rename(&device("b"), Incarnation(99)).unwrap();
        let (third, _) = begin(&[device("b")], 0);
        assert_eq!(third, [known(99, 2)]);
    }

    #[test]
    fn without_a_file_every_run_is_new() {
        let begin = || {
            State::open(None)
                .unwrap()
                .begin(&[device("a")], &mut Dice(1))
                .unwrap()
        };
        assert_eq!(
            begin(),
            [Known {
                incarnation: 2,
                boot: 1
            }]
        );
        assert_eq!(begin(), begin());
    }

    #[test]
    fn a_file_that_is_none_is_not_overwritten() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "pump").unwrap();
        assert!(matches!(
            State::open(Some(file.path())),
            Err(SimulateError::StateContent { .. })
        ));
        assert_eq!(fs::read(file.path()).unwrap(), b"pump");
    }
}
