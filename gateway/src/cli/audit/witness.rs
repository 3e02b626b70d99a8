//! `tidegate audit request | witness | cosign`: files that people carry between two gateways.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::args::{CosignArgs, RequestArgs, WitnessArgs};
use super::{data_dir, failed, key, read_file, remote, with_newest, write};
use crate::audit::newest::own_key;
use crate::audit::witness::{FOLDER, REQUEST_BYTES_MAX, Request, Witness, WitnessError};
use crate::audit::{Folder, LogKey, WitnessKey, WitnessSigner, cosigned};
use crate::cli::config::{self, Warnings};
use crate::cli::failure::Failure;
use crate::cli::output::{print, print_as_is};
use crate::disk::data_dir::lock_of;
use crate::disk::{Disk, RealDisk};
use crate::identity;
use crate::time::{Clock, SECOND_US, SystemClock};
use crate::trust::{WitnessSeed, witness_signer};

/// Writes what a witness is asked.
pub(super) fn request(args: &RequestArgs) -> Result<(), Failure> {
    let data_dir = data_dir(&args.config)?;
    if let Some(name) = &args.ask {
        let entries = remote::ask(&args.config, name, &data_dir)?;
        return print(&format!("cosigned: {entries} entries\n"));
    }
    let request = with_newest(&data_dir, |snapshot, key| {
        let old = match args.old {
            Some(old) => old,
            None => cosigned::by_the_only_one(&Folder::of(&data_dir), key)?,
        };
        snapshot.request(old)
    })?;
    write(args.out.as_deref(), &request.to_bytes())
}

/// Answers a request with a cosignature, or refuses.
pub(super) fn witness(args: &WitnessArgs) -> Result<(), Failure> {
    print_as_is(&answer(args)?)
}

/// What a witness says: its key, or a cosignature.
pub(super) fn answer(args: &WitnessArgs) -> Result<String, Failure> {
    let data_dir = data_dir(&args.config)?;
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::existing(&data_dir).map_err(failed)?);
    // A running gateway may cosign, too: one at a time.
    let _held = lock_of(&data_dir.join(FOLDER)).map_err(failed)?;
    let signer = signer(args, &disk)?;
    if args.show_key {
        return Ok(format!("{}\n", signer.public().text()));
    }
    let mut witness = Witness::new(disk, signer);
    if let Some(log) = &args.watch {
        witness.watch(&key(log, LogKey::parse)?).map_err(failed)?;
        if args.request.is_none() {
            return Ok(String::new());
        }
    }
    let request = read_request(args.request.as_deref())?;
    let now_s = SystemClock::new().now().wall_us / SECOND_US;
    match witness.add_checkpoint(&request, u64::try_from(now_s).unwrap_or(0)) {
        Err(WitnessError::Refused(refusal)) => Err(Failure::NotCosigned {
            source: Box::new(refusal),
        }),
        given => given.map_err(failed),
    }
}

fn read_request(path: Option<&Path>) -> Result<Vec<u8>, Failure> {
    let Some(path) = path.filter(|path| *path != Path::new("-")) else {
        let mut bytes = Vec::new();
        let stdin = std::io::stdin().lock();
        stdin
            .take(REQUEST_BYTES_MAX as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|source| Failure::System { source })?;
        return Ok(bytes);
    };
    read_file(path)
}

/// Who cosigns: this gateway, by the name that its log has too.
fn signer(args: &WitnessArgs, disk: &Arc<dyn Disk>) -> Result<WitnessSigner, Failure> {
    let settings = config::load(&args.config, Warnings::Untold)?;
    let Some(identity) = identity::read(disk) else {
        return Err(Failure::NoSuch {
            what: "identity of a gateway".to_owned(),
            path: settings.data_dir,
        });
    };
    let given = args.seed.as_deref().map(seed).transpose()?;
    let whose = (settings.site.as_str(), identity.gateway);
    witness_signer(disk, &settings.security, whose, given).map_err(failed)
}

/// Reads a seed that nobody else may read.
fn seed(path: &Path) -> Result<WitnessSeed, Failure> {
    let unusable = |why: &str| Failure::SeedUnusable {
        path: path.to_owned(),
        why: why.to_owned(),
    };
    let text = Zeroizing::new(read_file(path)?);
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(unusable("others than its owner may read it"));
    }
    let digits = std::str::from_utf8(&text).unwrap_or_default().trim();
    let mut seed = Zeroizing::new([0; 32]);
    if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(unusable("it has not 64 hex digits"));
    }
    for (byte, at) in seed.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&digits[at..at + 2], 16).unwrap_or_default();
    }
    Ok(seed)
}

/// Keeps what a witness answered.
pub(super) fn cosign(args: &CosignArgs) -> Result<(), Failure> {
    let data_dir = data_dir(&args.config)?;
    let log = own_key(&Folder::of(&data_dir)).map_err(failed)?;
    let witness = key(&args.witness, WitnessKey::parse)?;
    let asked = Request::parse(&read_file(&args.request)?).map_err(failed)?;
    let answer = String::from_utf8_lossy(&read_file(&args.answer)?).into_owned();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::existing(&data_dir).map_err(failed)?);
    cosigned::keep(&disk, &log, &asked, &answer, &witness).map_err(failed)
}
