//! One simulated device: a sampler and a shell beside each other.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tidegate_firmware::batch::BatchConfig;
use tidegate_firmware::claim::Claiming;
use tidegate_firmware::device::{Device, DeviceConfig, Identity};
use tidegate_firmware::link::LinkConfig;
use tidegate_firmware::mqtt::Names;
use tidegate_firmware::outbox::{Outbox, RamOutbox};
use tidegate_firmware::sensor::Reading;
use tidegate_firmware::settings::{DeviceKey, PageClaim};
use tidegate_firmware::shell::{self, ConfigError, Notice, Shared, ShellConfig};
use tidegate_firmware::time::{Moment, Timer};
use tidegate_shared::ids::{DeviceName, Incarnation};
use tidegate_shared::limits::{FRAME_BYTES_DEFAULT, SENSORS_MAX};
use tidegate_shared::message::{ClockSource, DeviceClock, ResetReason};
use tidegate_shared::seal::SEAL_BYTES_MAX;
use tokio::sync::watch;

use super::SimulateError;
use super::args::Speed;
use super::figures::Figures;
use super::seams::{BrokerDial, HostEntropy, HostTimer};
use super::source::{Row, Source};
use super::state::{Known, State};

/// Uptime of the first row: a device does not sample in its first microsecond.
const FIRST_US: u64 = 1_000_000;
/// A board with external RAM: frames of a quarter of an hour at one row a second.
const OUTBOX_BYTES: usize = 64 * 1_024;
const OUTBOX_FRAMES: usize = 128;
const BATCH_SAMPLES: usize = 60;
/// What most devices need; those with more sensors take more memory each.
const FEW_SENSORS: usize = 16;
/// One message from the gateway.
const RX_BYTES: usize = 2_048 + SEAL_BYTES_MAX;
/// A window of frames with topic and MQTT header, and one more.
const TX_BYTES: usize = 8 * (FRAME_BYTES_DEFAULT + SEAL_BYTES_MAX + 128);
/// How often figures are looked at.
const LOOK: Duration = Duration::from_millis(100);
/// Rows between two chances for the shell, when nothing else makes the sampler wait.
const ROWS_PER_TURN: u64 = 32;

/// What one device is to do.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) number: u32,
    pub(super) site: tidegate_shared::ids::SiteName,
    pub(super) device: DeviceName,
    pub(super) known: Known,
    pub(super) key: Option<DeviceKey>,
    /// By which it gets a key, if it has none.
    pub(super) claim: Option<PageClaim>,
    pub(super) source: Rc<Source>,
    pub(super) catalog: Rc<Vec<u8>>,
    pub(super) state: Rc<State>,
    pub(super) broker: BrokerDial,
    pub(super) speed: Speed,
    pub(super) evict: bool,
    pub(super) hold_us: u64,
    /// Turns true when a planned stop is asked for.
    pub(super) stop: watch::Receiver<bool>,
    pub(super) figures: Rc<Cell<Figures>>,
}

/// Runs a device from its first row until everything is acked.
pub(super) async fn simulate(job: Job) -> Result<(), SimulateError> {
    if job.source.columns().len() <= FEW_SENSORS {
        Box::pin(simulate_sized::<FEW_SENSORS>(job)).await
    } else {
        Box::pin(simulate_sized::<SENSORS_MAX>(job)).await
    }
}

type Simulated<'c, const SENSORS: usize> =
    Device<'c, RamOutbox<OUTBOX_BYTES, OUTBOX_FRAMES>, SENSORS, BATCH_SAMPLES, FRAME_BYTES_DEFAULT>;

async fn simulate_sized<const SENSORS: usize>(job: Job) -> Result<(), SimulateError> {
    let catalog = Rc::clone(&job.catalog);
    let columns = job.source.columns().len();
    let built = Simulated::<SENSORS>::new(job.identity(), job.config(), &catalog, RamOutbox::new());
    let mut device = built.map_err(|_| SimulateError::TooManyColumns {
        columns,
        columns_max: SENSORS,
    })?;
    if let Some(key) = &job.key {
        device.set_key(key);
    }
    let shared = Shared::new(device);
    let (mut rx, mut tx) = (vec![0; RX_BYTES], vec![0; TX_BYTES]);
    let config = ShellConfig {
        reconnect_ms: 250,
        reconnect_ms_max: 4_000,
        ..ShellConfig::default()
    };
    let run = async {
        let granted = match &job.claim {
            Some(claim) if job.key.is_none() => {
                let key = job.enrol(claim, &config, (&mut rx, &mut tx)).await?;
                shared.with(|device| device.set_key(&key));
                Some(key)
            }
            _ => None,
        };
        let key = job.key.as_ref().or(granted.as_ref());
        let password = key.map(DeviceKey::password);
        let login = password
            .as_ref()
            .map(|password| (job.device.as_str(), password.as_str()));
        let names = Names::new(&job.site, &job.device).with_login(login);
        let run = shell::run(
            &shared,
            &names,
            &config,
            job.broker.clone(),
            HostTimer,
            HostEntropy,
            (&mut rx, &mut tx),
            |notice| job.note(notice),
        );
        run.await
    };
    let sampled = Cell::new(None);
    let sample = async {
        sampled.set(Some(job.sample_to_the_end(&shared).await));
        std::future::pending::<()>().await;
    };
    let look = async {
        loop {
            job.look(&shared);
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::select! {
        ended = run => {
            if let Err(error) = ended {
                // Names of this crate fit MQTT; a device that cannot speak is not done.
                tracing::error!(device = %job.device, ?error, "minimq refused the device's names");
            }
        }
        () = sample => {}
        () = look => {}
    }
    job.look(&shared);
    sampled.take().unwrap_or(Ok(()))
}

impl Job {
    fn identity(&self) -> Identity {
        Identity {
            incarnation: Incarnation(self.known.incarnation),
            boot: self.known.boot,
            firmware: concat!("tidegate-simulate ", env!("CARGO_PKG_VERSION")),
            reset: ResetReason::PowerOn,
            seed: self.known.incarnation ^ self.number.wrapping_mul(0x9e37_79b1),
        }
    }

    fn config(&self) -> DeviceConfig {
        DeviceConfig {
            batch: BatchConfig {
                samples_max: BATCH_SAMPLES,
                hold_us: self.hold_us,
                ..BatchConfig::default()
            },
            link: LinkConfig {
                hello_ms_max: 8_000,
                resend_ms_max: 16_000,
                ..LinkConfig::default()
            },
        }
    }

    /// Gets the device its key, and keeps it.
    async fn enrol(
        &self,
        claim: &PageClaim,
        config: &ShellConfig,
        buffers: (&mut [u8], &mut [u8]),
    ) -> Result<DeviceKey, ConfigError> {
        let mut claiming = Claiming::new(claim, (&self.site, &self.device), &mut HostEntropy);
        let password = claim.password();
        let login = (self.device.as_str(), password.as_str());
        let names = Names::new(&self.site, &self.device).with_login(Some(login));
        let mut dial = self.broker.clone();
        let keep = |key: &DeviceKey| {
            let kept = self.state.grant(&self.device, claim.id, key);
            if let Err(error) = &kept {
                tracing::error!(device = %self.device, %error, "the granted key was not kept");
            }
            kept.is_ok()
        };
        let enrolled = shell::enrol(
            &mut claiming,
            &names,
            config,
            &mut dial,
            &HostTimer,
            self.identity().seed,
            buffers,
            keep,
            |notice| self.note(notice),
        );
        enrolled.await
    }

    fn change(&self, change: impl FnOnce(&mut Figures)) {
        let mut figures = self.figures.get();
        change(&mut figures);
        self.figures.set(figures);
    }

    fn note(&self, notice: Notice) {
        let device = &self.device;
        match notice {
            Notice::Published(bytes) => self.change(|figures| {
                figures.published += 1;
                figures.bytes_published += bytes as u64;
            }),
            Notice::Connected => {
                tracing::info!(%device, "connected to the broker");
                self.broker.causes.connected();
                self.change(|figures| figures.connections += 1);
            }
            Notice::NotConnected => {
                let (why, is_new) = self.broker.causes.take();
                if is_new {
                    tracing::warn!(%device, why, "not connected to the broker; trying on, and telling again when that changes");
                } else {
                    tracing::debug!(%device, why, "still not connected to the broker");
                }
            }
            Notice::Disconnected => tracing::warn!(%device, "the connection is gone; trying again"),
            Notice::Ignored => tracing::debug!(%device, "a message was ignored"),
            Notice::Claimed => {
                tracing::info!(%device, "asked for a key by its claim; the gateway does not answer a claim that it refuses");
            }
            Notice::Granted(key) => tracing::info!(%device, key, "the gateway granted a key"),
            Notice::NotKept => {
                tracing::error!(%device, "the key that was granted was not kept, so it is not used; asking again");
            }
            Notice::Renamed(incarnation) => {
                tracing::warn!(%device, %incarnation, "the gateway knew this identity with other content");
                self.change(|figures| figures.renamed += 1);
                if let Err(error) = self.state.rename(device, incarnation) {
                    tracing::error!(%device, %error, "the new incarnation was not kept");
                }
            }
        }
    }

    fn look<const SENSORS: usize>(&self, shared: &Shared<Simulated<'_, SENSORS>>) {
        shared.with(|device| {
            let counts = device.counts_sum();
            self.change(|figures| {
                figures.samples_taken = counts.taken;
                figures.samples_suppressed = counts.suppressed;
                figures.samples_failed = counts.failed;
                figures.samples_evicted = counts.evicted;
                figures.frames = device.frames().into();
                figures.acked = device.link().acked().sequence.into();
                figures.depth = device.outbox().len() as u64;
                figures.drained = device.is_drained().into();
            });
        });
    }

    /// Gives all rows, then stops the device as planned, whatever the rows ended with.
    async fn sample_to_the_end<const SENSORS: usize>(
        &self,
        shared: &Shared<Simulated<'_, SENSORS>>,
    ) -> Result<(), SimulateError> {
        let sampled = self.sample_all(shared).await;
        if !self.evict {
            shared.until(Device::has_room).await;
        }
        shared.with(Device::stop);
        sampled
    }

    async fn sample_all<const SENSORS: usize>(
        &self,
        shared: &Shared<Simulated<'_, SENSORS>>,
    ) -> Result<(), SimulateError> {
        let mut rows = self.source.rows(self.number)?;
        let (mut row, mut stop) = (Row::default(), self.stop.clone());
        let (mut origin_us, mut count) = (None, 0_u64);
        let began = HostTimer.now();
        while !*stop.borrow() && rows.next(&mut row)? {
            let origin_us = *origin_us.get_or_insert(row.utc_us);
            let uptime_us = row.utc_us.abs_diff(origin_us) + FIRST_US;
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                () = self.wait_for(shared, began, uptime_us) => {}
            }
            shared.with(|device| give(device, &row, uptime_us));
            count += 1;
            self.change(|figures| {
                figures.rows = count + rows.skipped();
                figures.rows_skipped = rows.skipped();
            });
            if count.is_multiple_of(ROWS_PER_TURN) {
                tokio::task::yield_now().await;
            }
        }
        self.change(|figures| {
            figures.rows = count + rows.skipped();
            figures.rows_skipped = rows.skipped();
        });
        Ok(())
    }

    /// Waits for a row's time, and for room in the outbox; closes batches that are due before.
    async fn wait_for<const SENSORS: usize>(
        &self,
        shared: &Shared<Simulated<'_, SENSORS>>,
        began: Moment,
        uptime_us: u64,
    ) {
        let due_us = shared.with(|device| device.next_advance_us());
        if let Some(due_us) = due_us.filter(|due_us| *due_us < uptime_us) {
            self.pace(began, due_us).await;
            self.wait_for_room(shared).await;
            shared.with(|device| device.advance(due_us));
        }
        self.pace(began, uptime_us).await;
        self.wait_for_room(shared).await;
    }

    async fn wait_for_room<const SENSORS: usize>(&self, shared: &Shared<Simulated<'_, SENSORS>>) {
        if !self.evict {
            shared.until(Device::has_room).await;
        }
    }

    async fn pace(&self, began: Moment, uptime_us: u64) {
        if let Speed::Times(_) = self.speed {
            let wall = self.speed.wall(uptime_us.saturating_sub(FIRST_US));
            let wall_us = u64::try_from(wall.as_micros()).unwrap_or(u64::MAX);
            HostTimer
                .until(Moment(began.0.saturating_add(wall_us)))
                .await;
        }
    }
}

/// Gives a row to its device.
fn give<const SENSORS: usize>(device: &mut Simulated<'_, SENSORS>, row: &Row, uptime_us: u64) {
    device.set_clock(DeviceClock {
        uptime_us,
        utc_us: row.utc_us,
        error_us: 0,
        source: ClockSource::Trace,
    });
    for (sensor, raw) in (0_u16..).zip(&row.raws) {
        // Refused only when times run backwards, which rows do not.
        let _ = match raw {
            Some(raw) => device.sample(sensor, uptime_us, Reading::Good(*raw)),
            None => device.fail(sensor, uptime_us),
        };
    }
    device.advance(uptime_us + 1);
}
