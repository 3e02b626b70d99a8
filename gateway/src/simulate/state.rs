//! The state file: incarnation, boot counter and granted key of each simulated device, as a board
//! keeps them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tidegate_firmware::settings::{DeviceKey, KEY_BYTES};
use tidegate_firmware::shell::Entropy;
use tidegate_shared::ids::{DeviceName, Incarnation};

use super::SimulateError;

/// One device's identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    /// Never 0.
    pub(super) incarnation: u32,
    /// Starts, counted from 1.
    pub(super) boot: u32,
    /// The key that it was granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    granted: Option<Granted>,
}

/// A key that was granted.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Granted {
    /// By which claim.
    claim: u32,
    key_id: u8,
    key: [u8; KEY_BYTES],
}

/// Without the key: what is printed is read by others.
impl fmt::Debug for Granted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Granted");
        shown.field("claim", &self.claim);
        shown.field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

impl Known {
    /// The key that it was granted by this claim.
    pub(super) fn key_of(&self, claim: u32) -> Option<DeviceKey> {
        let granted = self.granted.as_ref()?;
        (granted.claim == claim).then_some(DeviceKey {
            id: granted.key_id,
            bytes: granted.key,
        })
    }
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
                    granted: None,
                });
            one.boot = one.boot.saturating_add(1);
            begun.push(one.clone());
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

    /// Remembers the key that a device was granted, before it is used.
    pub(super) fn grant(
        &self,
        device: &DeviceName,
        claim: u32,
        key: &DeviceKey,
    ) -> Result<(), SimulateError> {
        if let Some(known) = self.devices.borrow_mut().get_mut(device.as_str()) {
            known.granted = Some(Granted {
                claim,
                key_id: key.id,
                key: key.bytes,
            });
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
            // It may hold keys.
            let mut open = OpenOptions::new();
            let mut file = open
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&aside)?;
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
        let known = |incarnation, boot| Known {
            incarnation,
            boot,
            granted: None,
        };
        let (first, _) = begin(&[device("a")], 6);
        assert_eq!(first, [known(7, 1)]);
        let (second, state) = begin(&[device("a"), device("b")], 20);
        assert_eq!(second, [known(7, 2), known(21, 1)]);
        state.rename(&device("b"), Incarnation(99)).unwrap();
        let (third, _) = begin(&[device("b")], 0);
        assert_eq!(third, [known(99, 2)]);
    }

    #[test]
    fn a_granted_key_stays_for_its_claim_and_only_its_owner_reads_it() {
        use std::os::unix::fs::PermissionsExt as _;

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        let key = DeviceKey {
            id: 3,
            bytes: [0xa5; KEY_BYTES],
        };
        let begin = |name| {
            let state = State::open(Some(&path)).unwrap();
            let begun = state.begin(&[device(name)], &mut Dice(0)).unwrap();
            (begun[0].clone(), state)
        };
        let (first, state) = begin("a");
        assert_eq!(first.key_of(7), None);
        state.grant(&device("a"), 7, &key).unwrap();
        let (again, _) = begin("a");
        assert_eq!((again.boot, again.key_of(7)), (2, Some(key)));
        assert_eq!(again.key_of(8), None, "of another claim");
        assert!(!format!("{again:?}").contains("165"), "{again:?}");
        assert_eq!(begin("b").0.key_of(7), None, "of another device");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
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
                boot: 1,
                granted: None,
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
