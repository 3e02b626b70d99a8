//! Running a simulation: all devices on one thread, watched and stopped together.

use std::cell::{Cell, RefCell};
use std::io::{self, IsTerminal, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tidegate_shared::ids::{DeviceName, NameError, SiteName};
use tidegate_shared::topic::device_client_id;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinSet, LocalSet};

use super::SimulateError;
use super::args::SimulateArgs;
use super::column;
use super::device::{Job, simulate};
use super::figures::{Figures, Summary};
use super::key::{self, Credential};
use super::plant::Plant;
use super::refusal::Causes;
use super::seams::{BrokerDial, HostEntropy};
use super::source::Source;
use super::state::State;
use super::trace::Trace;
use crate::sinks::tls;
use crate::time::{Clock, SystemClock};

/// Longest client id that minimq takes.
const CLIENT_ID_BYTES: usize = 64;
/// How often the figures are told.
const TELL: Duration = Duration::from_millis(250);

/// Runs a simulation with a bar or JSON lines. The first ctrl-c or SIGTERM stops the samplers as
/// planned: what was taken is still delivered; a second one ends at once.
///
/// # Errors
/// When it could not begin, a row could not be read (what was read before is delivered), or it
/// was ended before everything was acked.
pub async fn run(args: SimulateArgs) -> Result<Summary, SimulateError> {
    let system = |source| SimulateError::System { source };
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(system)?;
    let (stop, mut stopped) = watch::channel(false);
    let newest = Rc::new(RefCell::new(Summary::default()));
    let mut teller = Teller::new(args.json);
    let simulation = run_until(
        &args,
        async move {
            // A sender that is gone cannot ask for a stop either.
            if stopped.wait_for(|stop| *stop).await.is_err() {
                std::future::pending::<()>().await;
            }
        },
        |summary| {
            *newest.borrow_mut() = *summary;
            teller.tell(summary);
        },
    );
    let signals = async {
        for is_second in [false, true] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if !is_second {
                tracing::info!("asked to stop: delivering what was taken; again to end at once");
                stop.send_replace(true);
            }
        }
    };
    let result = tokio::select! {
        result = simulation => result,
        () = signals => {
            let summary = *newest.borrow();
            Err(SimulateError::NotDrained {
                frames: summary.figures.depth,
                devices: (summary.devices - summary.figures.drained) as usize,
            })
        }
    };
    teller.end(result.as_ref().unwrap_or(&newest.borrow()));
    result
}

/// Runs a simulation until its rows end or `stop` completes, and everything is acked; tells
/// `watch` the figures four times a second and at the end.
///
/// Needs a tokio runtime; stays on the calling thread.
///
/// # Errors
/// When it could not begin, or a row could not be read (what was read before is delivered).
pub async fn run_until(
    args: &SimulateArgs,
    stop: impl Future<Output = ()>,
    mut watch: impl FnMut(&Summary),
) -> Result<Summary, SimulateError> {
    let (stopping, stopped) = watch::channel(false);
    let jobs = jobs(args, &stopped)?;
    let figures: Vec<Rc<Cell<Figures>>> = jobs.iter().map(|job| Rc::clone(&job.figures)).collect();
    let summary = || Summary::of(figures.iter().map(|one| one.get()));
    let devices = LocalSet::new();
    let all = devices.run_until(async {
        let mut tasks = JoinSet::new();
        for job in jobs {
            tasks.spawn_local(simulate(job));
        }
        let mut result = Ok(());
        while let Some(ended) = tasks.join_next().await {
            // A panic of a device is one of this process.
            let ended = ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
            result = result.and(ended);
        }
        result
    });
    let tell = async {
        loop {
            watch(&summary());
            tokio::time::sleep(TELL).await;
        }
    };
    let stop = async {
        stop.await;
        stopping.send_replace(true);
        std::future::pending::<()>().await;
    };
    let result = tokio::select! {
        result = all => result,
        () = tell => Ok(()),
        () = stop => Ok(()),
    };
    let summary = summary();
    watch(&summary);
    result.map(|()| summary)
}

fn name<N: for<'t> TryFrom<&'t str, Error = NameError>>(text: &str) -> Result<N, SimulateError> {
    N::try_from(text).map_err(|source| SimulateError::Name {
        text: text.to_owned(),
        source,
    })
}

/// Everything that can be refused is refused here, before anything is sent.
fn jobs(args: &SimulateArgs, stop: &watch::Receiver<bool>) -> Result<Vec<Job>, SimulateError> {
    let site: SiteName = name(&args.site)?;
    let devices: Vec<DeviceName> = if args.devices == 1 {
        vec![name(&args.device)?]
    } else {
        let numbered = |number| name(&format!("{}-{number}", args.device));
        (1..=args.devices).map(numbered).collect::<Result<_, _>>()?
    };
    for device in &devices {
        let bytes = device_client_id(&site, device).len();
        if bytes > CLIENT_ID_BYTES {
            return Err(SimulateError::NamesTooLong {
                device: device.to_string(),
                bytes,
                bytes_max: CLIENT_ID_BYTES,
            });
        }
    }
    let file = args.key_file.as_deref();
    let found = file.map(|path| key::read(path, args.key_id, &site, &devices));
    let (key, claim) = match found.transpose()? {
        None => (None, None),
        Some(Credential::Key(key)) => (Some(key), None),
        Some(Credential::Claim(claim)) => (None, Some(claim)),
    };
    let tls = match args.tls() {
        Some(settings) => Some((Arc::new(tls::client_config(&settings)?), settings)),
        None => None,
    };
    let broker = BrokerDial {
        broker: args.broker.clone(),
        tls,
        causes: Causes::default(),
    };
    let source = Rc::new(source(args)?);
    let catalog = Rc::new(column::catalog(source.columns())?);
    let state = Rc::new(State::open(args.state.as_deref())?);
    let begun = state.begin(&devices, &mut HostEntropy)?;
    let rows_total = source.rows_count();
    let jobs = (0_u32..)
        .zip(devices)
        .zip(begun)
        .map(|((number, device), known)| Job {
            number,
            site: site.clone(),
            device,
            key: match &claim {
                Some(claim) => known.key_of(claim.id),
                None => key.clone(),
            },
            claim: claim.clone(),
            known,
            source: Rc::clone(&source),
            catalog: Rc::clone(&catalog),
            state: Rc::clone(&state),
            broker: broker.of_another(),
            speed: args.speed,
            evict: args.evict,
            hold_us: u64::from(args.hold) * 1_000_000,
            stop: stop.clone(),
            figures: Rc::new(Cell::new(Figures {
                rows_total,
                ..Figures::default()
            })),
        });
    Ok(jobs.collect())
}

fn source(args: &SimulateArgs) -> Result<Source, SimulateError> {
    if let Some(path) = &args.trace {
        let trace = Trace::open(path, args)?;
        if !trace.left_out.is_empty() {
            tracing::info!(columns = ?trace.left_out, "columns without numbers are left out");
        }
        return Ok(Source::Trace(trace));
    }
    // The model's last row is due now at any speed above 1: no sample is of the future.
    let duration_us = args.duration.saturating_mul(1_000_000);
    let wall_us = i64::try_from(args.speed.wall(duration_us).as_micros()).unwrap_or(i64::MAX);
    let past_us = i64::try_from(duration_us)
        .unwrap_or(i64::MAX)
        .saturating_sub(wall_us)
        .max(0);
    let now_us = SystemClock::new().now().wall_us;
    let begin_us = now_us.saturating_sub(past_us) / 1_000_000 * 1_000_000;
    let seed = args.seed.unwrap_or_else(|| {
        // FNV-1a of the name: the same device is the same plant every time.
        let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        args.device.bytes().fold(0xcbf2_9ce4_8422_2325, mix)
    });
    Ok(Source::Plant(Plant::new(
        begin_us,
        args.duration.max(1),
        seed,
    )))
}

/// Tells figures: a bar on a terminal, JSON lines when asked for, otherwise only the end.
struct Teller {
    json: bool,
    bar: Option<ProgressBar>,
    last: Option<Summary>,
}

impl Teller {
    fn new(json: bool) -> Self {
        let bar = (!json && io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            let style = "{elapsed_precise} {wide_bar} {pos}/{len} rows  {msg}";
            bar.with_style(
                ProgressStyle::with_template(style)
                    .unwrap_or_else(|_| ProgressStyle::default_bar()),
            )
        });
        Self {
            json,
            bar,
            last: None,
        }
    }

    fn tell(&mut self, summary: &Summary) {
        if self.last == Some(*summary) {
            return;
        }
        self.last = Some(*summary);
        if self.json {
            print(&format!("{}\n", summary.json()));
        }
        if let Some(bar) = &self.bar {
            let Figures {
                rows_total,
                rows,
                frames,
                depth,
                ..
            } = summary.figures;
            bar.set_length(rows_total);
            bar.set_position(rows);
            bar.set_message(format!("{frames} frames, {depth} waiting"));
        }
    }

    fn end(&mut self, summary: &Summary) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        if self.json {
            self.tell(summary);
        } else {
            print(&summary.told());
        }
    }
}

/// Writes to stdout. A reader that went away has seen enough.
fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
