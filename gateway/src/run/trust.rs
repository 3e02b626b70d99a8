//! Trust's thread: carries out orders, notes what happens, and hands on the keys in force.
//!
//! Its appends wait for the disk, so they have a thread of their own. What does not fit its queue
//! is told as an error: an order is refused then, and what was only to be noted is in the
//! journal alone.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tidegate_shared::ids::{DeviceName, SiteName};
use tokio::sync::{mpsc, oneshot, watch};

use super::core::Question;
use crate::audit::{Act, Who};
use crate::causes;
use crate::entry::Uncounted;
use crate::mqtt::access::Doorkeeper;
use crate::registry::registrar::{Granted, NotEnrolled, OrderError};
use crate::registry::{Answer, Order};
use crate::session::{Keyring, Ruling};
use crate::time::{Clock, Timestamp};
use crate::trust::Trust;

/// Things to do that may wait.
pub const TASKS_MAX: usize = 256;
/// Claims among them: what others do has the rest.
pub const CLAIMS_WAITING_MAX: usize = 16;
/// How often it is looked whether claims are over. None is good for longer than its time: that is
/// judged with each.
const LOOK: Duration = Duration::from_secs(5);

/// Something to do.
#[derive(Debug)]
pub enum Task {
    /// Somebody orders this; the answer is what came of it.
    Order(Order, Who, oneshot::Sender<Result<Answer, String>>),
    /// A device went into quarantine, or came out.
    Ruled(Ruling),
    /// This was done.
    Note(Act, Who),
    /// Somebody who has a claim's code said this in a device's name.
    Claimed(DeviceName, Vec<u8>),
    /// Time has passed, or keys were used.
    Look,
}

/// Keys that frames on disk are under, and that are not noted as used yet: the newest of each
/// device. All devices may be heard in one moment, after a start: none is forgotten, and all that
/// came are one change.
type Used = Arc<Mutex<BTreeMap<DeviceName, u8>>>;

/// The way to the thread.
#[derive(Debug, Clone)]
pub struct Handle {
    tasks: mpsc::Sender<Task>,
    claims: Arc<AtomicUsize>,
    used: Used,
}

impl Handle {
    /// A frame under this key of a device is on disk.
    pub fn use_key(&self, device: DeviceName, key_id: u8) {
        locked(&self.used).insert(device, key_id);
        // Where the queue is full there is enough to come by it.
        let _ = self.tasks.try_send(Task::Look);
    }

    /// Has something done; what finds no room is told.
    pub fn give(&self, task: Task) {
        if let Err(refused) = self.tasks.try_send(task) {
            let task = refused.into_inner();
            tracing::error!(
                ?task,
                "the audit log's queue is full or it has stopped: this is not noted in it"
            );
        }
    }

    /// Has a claim carried out; false where too many wait already.
    pub fn claim(&self, device: DeviceName, said: Vec<u8>) -> bool {
        let waiting = self.claims.fetch_add(1, Ordering::Relaxed);
        let is_given = waiting < CLAIMS_WAITING_MAX
            && self.tasks.try_send(Task::Claimed(device, said)).is_ok();
        if !is_given {
            self.claims.fetch_sub(1, Ordering::Relaxed);
        }
        is_given
    }

    /// Has an order carried out.
    pub async fn order(&self, order: Order, who: Who) -> Option<Result<Answer, String>> {
        let (answer, answered) = oneshot::channel();
        self.tasks.try_send(Task::Order(order, who, answer)).ok()?;
        answered.await.ok()
    }
}

/// Who hears of the keys in force.
pub struct Hearers {
    /// The core.
    pub core: mpsc::Sender<Question>,
    /// The embedded broker.
    pub doorkeeper: Option<Arc<Doorkeeper>>,
}

impl Hearers {
    fn tell(&self, keys: Keyring) {
        if let Some(doorkeeper) = &self.doorkeeper {
            doorkeeper.set(super::doors::access(&keys));
        }
        // The core takes questions all the time; when it stops there is nothing to tell.
        let _ = self.core.blocking_send(Question::Keys(keys));
    }
}

/// Starts the thread, which ends with the last handle; gives also how many entries the audit log
/// has from now on.
pub fn spawn(
    trust: Trust,
    hearers: Hearers,
    clock: Arc<dyn Clock>,
    site: SiteName,
) -> std::io::Result<(Handle, watch::Receiver<u64>)> {
    let (tasks, mut given) = mpsc::channel(TASKS_MAX);
    let claims = Arc::new(AtomicUsize::new(0));
    let used = Used::default();
    let (entries, grown) = watch::channel(trust.entries().unwrap_or(0));
    let mut desk = Desk {
        told: trust.entries(),
        entries,
        trust,
        hearers,
        site,
        claims: Arc::clone(&claims),
        used: Arc::clone(&used),
    };
    thread::Builder::new()
        .name("trust".to_owned())
        .spawn(move || {
            while let Some(task) = given.blocking_recv() {
                desk.carry_out(clock.now(), task);
                desk.confirm(clock.now());
                desk.end_claims(clock.now());
                desk.hand_on_checkpoint();
            }
        })?;
    let looking = tasks.downgrade();
    tokio::spawn(async move {
        while let Some(tasks) = looking.upgrade() {
            // Where the queue is full it looks all the same.
            let _ = tasks.try_send(Task::Look);
            drop(tasks);
            tokio::time::sleep(LOOK).await;
        }
    });
    let handle = Handle {
        tasks,
        claims,
        used,
    };
    Ok((handle, grown))
}

/// Where tasks are carried out.
struct Desk {
    trust: Trust,
    /// Entries of the checkpoint that was handed on last.
    told: Option<u64>,
    /// Who asks witnesses hears how many there are.
    entries: watch::Sender<u64>,
    hearers: Hearers,
    site: SiteName,
    /// Claims that wait.
    claims: Arc<AtomicUsize>,
    used: Used,
}

impl Desk {
    fn carry_out(&mut self, now: Timestamp, task: Task) {
        match task {
            // Who gave up has been told that it was not taken.
            Task::Order(_, _, answer) if answer.is_closed() => {}
            Task::Order(order, who, answer) => self.order(now, (&order, who), answer),
            Task::Ruled(ruling) => told(self.trust.rule(now, &ruling)),
            Task::Note(act, who) => told(self.trust.note_of(now, who, act)),
            Task::Claimed(device, said) => {
                self.claims.fetch_sub(1, Ordering::Relaxed);
                self.claim(now, device, &said);
            }
            Task::Look => {}
        }
    }

    fn order(
        &mut self,
        now: Timestamp,
        (order, who): (&Order, Who),
        answer: oneshot::Sender<Result<Answer, String>>,
    ) {
        let done = self.trust.carry_out(now, who, order);
        if order.is_act() {
            self.hand_on();
        }
        if let (Ok(_), Order::Release(device) | Order::Rename { from: device, .. }) = (&done, order)
        {
            self.tell(Question::Release(device.clone()));
        }
        let _ = answer.send(done.map_err(|why| causes::told(&why)));
    }

    /// Keeps which keys were used; what cannot be is tried again with the next look.
    fn confirm(&mut self, now: Timestamp) {
        let mut used = std::mem::take(&mut *locked(&self.used)).into_iter();
        let mut is_changed = false;
        for (device, key_id) in used.by_ref() {
            match self.trust.confirm(now, &device, key_id) {
                Ok(changed) => is_changed |= changed,
                // It was revoked meanwhile, or has yet another.
                Err(OrderError::Registry(_)) => {}
                Err(why) => {
                    tracing::error!(
                        %device,
                        key = key_id,
                        why = causes::told(&why),
                        "that the device uses its new key could not be kept: its former key stays valid until it can, which is tried again"
                    );
                    locked(&self.used).entry(device).or_insert(key_id);
                    // It may be noted all the same.
                    is_changed = true;
                    break;
                }
            }
        }
        for (device, key_id) in used {
            locked(&self.used).entry(device).or_insert(key_id);
        }
        if is_changed {
            self.hand_on();
        }
    }

    /// The key is in force before the device hears of it.
    fn claim(&mut self, now: Timestamp, device: DeviceName, said: &[u8]) {
        let question = match self.trust.claim(now, (&self.site, &device), said) {
            Ok(Granted { grant, is_new }) => {
                if is_new {
                    self.hand_on();
                    tracing::info!(%device, "the device enrolled by a claim: it is granted a key");
                }
                Question::Granted(device, grant)
            }
            Err(NotEnrolled::Refused(reason)) => Question::ClaimRefused(device, reason),
            Err(NotEnrolled::Failed(why)) => {
                // It may be noted all the same.
                self.hand_on();
                tracing::error!(
                    %device,
                    why = causes::told(&why),
                    "the device could not be enrolled by its claim: it asks again"
                );
                Question::ClaimRefused(device, Uncounted::Busy)
            }
        };
        self.tell(question);
    }

    fn end_claims(&mut self, now: Timestamp) {
        match self.trust.end_claims(now) {
            Ok(true) => self.hand_on(),
            Ok(false) => {}
            Err(why) => {
                // It may be noted all the same.
                self.hand_on();
                tracing::error!(
                    why = causes::told(&why),
                    "that a claim ended could not be kept: it takes no device, and is tried again"
                );
            }
        }
    }

    fn hand_on(&mut self) {
        match self.trust.keyring() {
            Ok(keys) => self.hearers.tell(keys),
            Err(why) => tracing::error!(
                why = causes::told(&why),
                "the audit log cannot be read: the keys in force stay those of before"
            ),
        }
    }

    /// Has the newest checkpoint go upstream.
    fn hand_on_checkpoint(&mut self) {
        let entries = self.trust.entries();
        if entries == self.told {
            return;
        }
        self.told = entries;
        self.entries.send_replace(entries.unwrap_or(0));
        match self.trust.checkpoint() {
            Ok(Some(newest)) => self.tell(Question::Checkpoint(newest)),
            Ok(None) => {}
            Err(why) => tracing::warn!(
                why = causes::told(&why),
                "the audit log's checkpoint cannot be read: it goes upstream with the next act, or start"
            ),
        }
    }

    /// The core takes questions all the time; when it stops there is nothing to tell.
    fn tell(&self, question: Question) {
        let _ = self.hearers.core.blocking_send(question);
    }
}

fn locked(used: &Used) -> MutexGuard<'_, BTreeMap<DeviceName, u8>> {
    used.lock().unwrap_or_else(PoisonError::into_inner)
}

fn told(noted: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(why) = noted {
        tracing::error!(
            why = causes::told(&*why),
            "this could not be noted in the audit log, and it was done nevertheless"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, FaultDisk};
    use crate::rules::settings::{Secret, SecuritySettings};
    use crate::trust::Whose;

    /// A desk over a disk, with two devices that were given their next keys, and what it tells.
    fn desk(disk: &FaultDisk) -> (Desk, mpsc::Receiver<Question>) {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("key");
        std::fs::write(&key, "07".repeat(32)).unwrap();
        let settings = SecuritySettings {
            key: Some(Secret::File(key)),
            ..SecuritySettings::default()
        };
        let whose = Whose {
            site: "plant",
            gateway: 1,
            start: 1,
        };
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let mut trust = Trust::open(&disk, &settings, whose).unwrap();
        for device in ["a", "b"] {
            for order in [Order::Add, Order::Rotate] {
                let order = order(device.parse().unwrap());
                let who = Who::Gateway;
                trust.carry_out(Timestamp::default(), who, &order).unwrap();
            }
        }
        let (core, told) = mpsc::channel(8);
        let desk = Desk {
            told: trust.entries(),
            entries: watch::channel(0).0,
            trust,
            hearers: Hearers {
                core,
                doorkeeper: None,
            },
            site: "plant".parse().unwrap(),
            claims: Arc::default(),
            used: Used::default(),
        };
        (desk, told)
    }

    #[test]
    fn a_key_whose_use_could_not_be_kept_is_kept_as_soon_as_it_can() {
        let disk = FaultDisk::new();
        let (mut desk, mut told) = desk(&disk);
        for device in ["a", "b"] {
            locked(&desk.used).insert(device.parse().unwrap(), 2);
        }
        disk.set_read_only(true);
        desk.confirm(Timestamp::default());
        assert_eq!(locked(&desk.used).len(), 2);
        let before = desk.trust.keyring().unwrap();
        let Ok(Question::Keys(keys)) = told.try_recv() else {
            panic!("the keys in force are handed on");
        };
        assert_eq!(keys, before);
        disk.set_read_only(false);
        desk.confirm(Timestamp::default());
        assert!(locked(&desk.used).is_empty());
        let Ok(Question::Keys(keys)) = told.try_recv() else {
            panic!("the keys in force are handed on");
        };
        for device in ["a", "b"] {
            let device: DeviceName = device.parse().unwrap();
            let ids: Vec<u8> = keys.devices[&device].iter().map(|key| key.id).collect();
            assert_eq!(ids, [2]);
        }
        assert!(told.try_recv().is_err(), "once for both");
    }

    /// An act whose noting failed may be noted all the same: what is in force then is handed on, too.
    #[test]
    fn whatever_the_disk_refuses_the_keys_that_were_handed_on_last_are_those_in_force() {
        for nth in 1..=12 {
            let disk = FaultDisk::new();
            let (mut desk, mut told) = desk(&disk);
            desk.hand_on();
            locked(&desk.used).insert("a".parse().unwrap(), 2);
            disk.fail_sync(disk.syncs() + nth);
            desk.confirm(Timestamp::default());
            disk.disarm();
            desk.confirm(Timestamp::default());
            let mut last = None;
            while let Ok(question) = told.try_recv() {
                if let Question::Keys(keys) = question {
                    last = Some(keys);
                }
            }
            assert_eq!(last, Some(desk.trust.keyring().unwrap()), "sync {nth}");
        }
    }

    #[test]
    fn however_many_devices_are_heard_in_one_moment_none_is_forgotten() {
        let (tasks, _given) = mpsc::channel(1);
        let handle = Handle {
            tasks,
            claims: Arc::default(),
            used: Used::default(),
        };
        for number in 0..2 * TASKS_MAX {
            handle.use_key(format!("pump-{number}").parse().unwrap(), 1);
        }
        assert_eq!(locked(&handle.used).len(), 2 * TASKS_MAX);
    }

    #[test]
    fn claims_that_wait_leave_room_for_what_others_do() {
        let (tasks, mut given) = mpsc::channel(TASKS_MAX);
        let handle = Handle {
            tasks,
            claims: Arc::default(),
            used: Used::default(),
        };
        let claim = || handle.claim("pump-1".parse().unwrap(), Vec::new());
        for number in 0..CLAIMS_WAITING_MAX {
            assert!(claim(), "{number}");
        }
        assert!(!claim() && !claim());
        assert_eq!(handle.tasks.capacity(), TASKS_MAX - CLAIMS_WAITING_MAX);
        // As the thread does.
        assert!(given.try_recv().is_ok());
        handle.claims.fetch_sub(1, Ordering::Relaxed);
        assert!(claim() && !claim());
    }
}
