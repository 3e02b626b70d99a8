//! Answers: what commands ask the running gateway, asked of its rooms.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::spawn_blocking;

use super::core::Question;
use super::writer::Question as StoreQuestion;
use super::{books, reload, trust};
use crate::audit::Who;
use crate::audit::asking::Witnessed;
use crate::budget::Billed;
use crate::causes;
use crate::conductor::Condition;
use crate::control::{Command, Handler, Meter};
use crate::dead_letters::{self, Order, Wish};
use crate::http;
use crate::ledger::balance::balances;
use crate::mqtt::LinkHandle;
use crate::mqtt::access::Doorkeeper;
use crate::plant::{Books, Chart, Devices, Flow, Overview, Selection, Source, TapFilter};
use crate::recent::{Tap, Taps};
use crate::record::rfc3339;
use crate::reload::InForce;
use crate::rules::nearest;
use crate::sinks::{self, SinkHandle};
use crate::spool::Spool;
use crate::status::{Parts, Setup, Status, compose};
use crate::time::Clock;

/// How long a status waits for the store, which may be held up by the very disk that somebody
/// asks about. Without its answer the rest is told, and the store's part is unknown.
const STORE_PATIENCE: Duration = Duration::from_secs(2);

/// Where the answers are.
pub(super) struct Answers {
    /// The core.
    pub questions: mpsc::Sender<Question>,
    /// Registry and audit log.
    pub trust: trust::Handle,
    /// What the gateway was set up with.
    pub setup: Setup,
    /// Each sink by name.
    pub sinks: BTreeMap<String, SinkAnswers>,
    /// How it stands with each witness, by name.
    pub witnesses: BTreeMap<String, watch::Receiver<Witnessed>>,
    /// The spool, for its dead letters.
    pub spool: Arc<Mutex<Spool>>,
    /// The link to the broker.
    pub link: LinkHandle,
    /// Who judges at the broker inside, where that is the broker.
    pub doorkeeper: Option<Arc<Doorkeeper>>,
    /// What the control socket counts, where there is one.
    pub control: Option<Meter>,
    /// What page, API and metrics count, where they are served.
    pub http: Option<http::Meter>,
    /// Reads the configuration again, where it came from a file.
    pub reload: Option<reload::Handle>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where samples and records flow by.
    pub taps: Taps,
    /// The newest sums of the ledger.
    pub books: tokio::sync::Mutex<books::Newest>,
}

/// What a sink is asked and told.
pub(super) struct SinkAnswers {
    /// What it is doing.
    status: watch::Receiver<sinks::Status>,
    /// That its queues, or its dead letters to send again, were added to.
    wake: Arc<Notify>,
    /// That its receiver was mended.
    resume: Arc<Notify>,
}

impl SinkAnswers {
    /// Of a running sink, and of what wakes it.
    pub(super) fn of(handle: &SinkHandle, wake: Arc<Notify>) -> Self {
        Self {
            status: handle.status.clone(),
            wake,
            resume: Arc::clone(&handle.resume),
        }
    }
}

impl Answers {
    /// The ledger; none when the core or the store is too busy or stopping.
    pub async fn ledger(&self) -> Option<Value> {
        self.ask(Question::Ledger).await
    }

    /// What keeps the gateway from working as usual; none when the core is too busy or stopping.
    pub async fn conditions(&self) -> Option<Vec<Condition>> {
        self.ask(Question::Conditions).await
    }

    /// The status; none when the core is too busy or stopping.
    pub async fn status(&self) -> Option<Status> {
        let (core, store) = self.ask(Question::Status).await?;
        let store = match store {
            Some(store) => tokio::time::timeout(STORE_PATIENCE, store).await.ok(),
            None => None,
        };
        let (sinks, witnesses) = (self.sinks.iter(), self.witnesses.iter());
        let parts = Parts {
            core,
            store: store.and_then(Result::ok),
            sinks: sinks
                .map(|(name, sink)| (name.clone(), sink.status.borrow().clone()))
                .collect(),
            witnesses: witnesses
                .map(|(name, standing)| (name.clone(), standing.borrow().clone()))
                .collect(),
            link: (self.link.is_up(), self.link.counters()),
            refused: self.doorkeeper.as_ref().map(|one| one.counts()),
            control: self.control.as_ref().map(Meter::counts),
            http: self.http.as_ref().map(http::Meter::counts),
            configuration: self.configuration(),
        };
        Some(compose(&self.setup, &parts))
    }

    /// The bill; none when the core or the store is too busy or stopping.
    pub async fn bill(&self) -> Option<Billed> {
        self.ask(Question::Bill).await
    }

    /// Which configuration is in force, where one came from a file.
    pub fn configuration(&self) -> Option<InForce> {
        self.reload.as_ref().map(reload::Handle::in_force)
    }

    /// Has the configuration read again.
    async fn reload(&self) -> Result<Option<Value>, String> {
        let Some(handle) = &self.reload else {
            return Err(
                "this gateway was not started from a file: there is nothing to read".into(),
            );
        };
        let outcome = handle.reload().await;
        Ok(outcome.and_then(|outcome| serde_json::to_value(outcome).ok()))
    }

    /// Carries an order about dead letters out, and wakes the sink that has some to send again.
    async fn dead_letters(&self, order: Order) -> Result<Option<Value>, String> {
        let spool = Arc::clone(&self.spool);
        let sink = self.sinks.get(&order.sink);
        let wake = sink.filter(|_| matches!(order.wish, Wish::Resend(_)));
        let done = spawn_blocking(move || dead_letters::carry_out(&spool, &order)).await;
        let reply = done.map_err(|broken| format!("the order broke off: {broken}"))?;
        if let Some(sink) = wake {
            sink.wake.notify_one();
        }
        let reply = reply.map_err(|error| causes::told(&error))?;
        Ok(serde_json::to_value(reply).ok())
    }

    /// Tells a sink that its receiver was mended; what it was doing until then.
    fn resume(&self, name: &str) -> Result<Option<Value>, String> {
        let Some(sink) = self.sinks.get(name) else {
            let nearest = nearest(name, self.sinks.keys().map(String::as_str));
            return Err(format!(
                "there is no sink `{name}`{}",
                dead_letters::meant(nearest)
            ));
        };
        let before = sink.status.borrow().clone();
        sink.resume.notify_one();
        Ok(serde_json::to_value(before).ok())
    }

    /// Asks the store, which may be held up by its disk.
    async fn ask_store<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> StoreQuestion,
    ) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        let question = Question::Store(question(answer));
        self.questions.try_send(question).ok()?;
        let answered = tokio::time::timeout(STORE_PATIENCE, answered).await;
        answered.ok()?.ok()
    }

    /// Whether the books balance. They are added up anew when what that took is small against
    /// the time since, and once for all who ask meanwhile.
    async fn books(&self) -> Option<Books> {
        let came_us = self.clock.now().mono_us;
        let mut newest = self.books.lock().await;
        let began_us = self.clock.now().mono_us;
        if newest.is_for(came_us, began_us) {
            return newest.books();
        }
        let counters = self.ask_store(StoreQuestion::Counters).await;
        let Some((counters, spool)) = counters else {
            newest.fail(self.clock.now().mono_us);
            return newest.books();
        };
        let added_up = spawn_blocking(move || Books::from(&balances(&counters, &spool)));
        let books = added_up.await.ok()?;
        newest.take(books, began_us, self.clock.now().mono_us);
        Some(books)
    }

    async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Question) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.questions.try_send(question(answer)).ok()?;
        answered.await.ok()
    }
}

impl Source for Answers {
    async fn overview(&self) -> Option<Overview> {
        let status = self.status().await?;
        let view = self.ask_store(StoreQuestion::Overview).await?;
        let ledger = self.books().await?;
        Some(Overview {
            at: rfc3339(self.clock.now().wall_us),
            flow: Flow {
                received_bytes: self.link.counters().received_bytes,
                ..view.flow
            },
            devices: view.devices,
            rules: view.rules,
            alerts: view.alerts,
            alerts_open: view.alerts_open,
            ledger,
            bill: view.bill,
            status,
        })
    }

    async fn devices(&self, selection: Selection) -> Option<Devices> {
        let question = |answer| StoreQuestion::Devices(selection, answer);
        self.ask_store(question).await
    }

    async fn chart(&self, device: String, sensor: String) -> Option<Option<Chart>> {
        let question = |answer| StoreQuestion::Chart(device, sensor, answer);
        self.ask_store(question).await
    }

    async fn ledger(&self) -> Option<Value> {
        Self::ledger(self).await
    }

    async fn bill(&self) -> Option<Billed> {
        Self::bill(self).await
    }

    async fn status(&self) -> Option<Status> {
        Self::status(self).await
    }
}

/// An answer as JSON.
fn told<T: Serialize>(answer: Option<T>) -> Option<Value> {
    answer.and_then(|answer| serde_json::to_value(answer).ok())
}

impl Handler for Answers {
    fn tap(&self, filter: TapFilter) -> Option<Tap> {
        Some(self.taps.open(filter))
    }

    async fn answer(&self, command: Command, uid: Option<u32>) -> Result<Value, String> {
        let answer = match command {
            Command::Ledger => self.ledger().await,
            Command::Reload => self.reload().await?,
            Command::DeadLetters(order) => self.dead_letters(order).await?,
            Command::Resume(sink) => self.resume(&sink)?,
            Command::Bill => told(self.bill().await),
            Command::Status => told(self.status().await),
            Command::Overview => told(self.overview().await),
            Command::Devices(selection) => told(self.devices(selection).await),
            Command::Device(order) => {
                let answer = self.trust.order(order, Who::Control { uid }).await;
                told(answer.transpose()?)
            }
            Command::Tap(_) => return Err("a tap is no question".to_owned()),
        };
        answer.ok_or_else(|| "the gateway is busy or stopping; ask again".into())
    }
}

#[cfg(all(test, feature = "embedded-broker"))]
mod tests {
    use std::net::Ipv4Addr;
    use std::path::Path;

    use tokio::task::spawn_blocking;

    use crate::budget::Billed;
    use crate::control::{AskError, Command, ask};
    use crate::rules::parse;
    use crate::rules::settings::MqttSettings;
    use crate::run::Gateway;
    use crate::spool::bill::Bill;
    use crate::status::Status;

    fn configuration(dir: &Path) -> String {
        format!(
            r#"
            [gateway]
            site = "plant"
            data_dir = "{0}/data"
            [mqtt]
            embedded = {{ listen = "127.0.0.1:1883" }}
            [budget]
            bytes_per_month = "500MB"
            [sink.file]
            type = "file"
            path = "{0}/records"
            [[rule]]
            name = "all"
            match = {{ sensor = "*" }}
            forward = ["file"]
            "#,
            dir.display()
        )
    }

    async fn asked(data_dir: &Path) -> Result<Status, AskError> {
        let data_dir = data_dir.to_owned();
        let asking = spawn_blocking(move || ask(&data_dir, &Command::Status));
        let answer = asking.await.expect("asking does not panic")?;
        Ok(serde_json::from_value(answer).expect("the answer is a status"))
    }

    #[tokio::test]
    async fn a_running_gateway_tells_its_status_and_a_stopped_one_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let (mut settings, _) = parse(&configuration(dir.path()), "test").unwrap();
        // Whichever port is free.
        settings.mqtt = MqttSettings::Embedded {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            tls: None,
        };
        let data_dir = settings.data_dir.clone();
        let gateway = Gateway::start(settings).await.unwrap();
        let mut status = asked(&data_dir).await.unwrap();
        let is_waiting = |status: &Status| {
            let mut states = status.states.iter();
            states.any(|state| state.name == "unsubscribed")
        };
        // Each question is a turn of the core; a start is subscribed after a few.
        for _ in 0..10_000 {
            if !is_waiting(&status) {
                break;
            }
            status = asked(&data_dir).await.unwrap();
        }
        assert!(!is_waiting(&status), "{status:?}");
        assert!(status.link.up);
        assert_eq!(
            (status.gateway.site.as_str(), status.gateway.start),
            ("plant", 1)
        );
        assert_eq!(status.sinks["file"].delivery.records_waiting, Some(0));
        assert_eq!(status.devices.frames_held, Some(0));
        let log = status
            .limits
            .iter()
            .find(|limit| limit.key == "log.bytes_max");
        assert!(log.unwrap().used > Some(0), "{log:?}");
        // An answer counts once it is given: the first is in the second.
        let again = asked(&data_dir).await.unwrap();
        assert!(again.control.unwrap().answered > 0);
        assert_eq!(gateway.status().await.unwrap().gateway, status.gateway);
        let asking = data_dir.clone();
        let bill = spawn_blocking(move || ask(&asking, &Command::Bill));
        let billed: Billed = serde_json::from_value(bill.await.unwrap().unwrap()).unwrap();
        assert_eq!(billed.bill, Bill::default(), "nothing was sent yet");
        gateway.stop().await;
        let why = asked(&data_dir).await.unwrap_err();
        assert!(matches!(why, AskError::NotRunning { .. }), "{why}");
    }
}
