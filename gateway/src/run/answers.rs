//! Answers: what commands ask the running gateway, asked of its rooms.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};

use super::core::Question;
use crate::conductor::Condition;
use crate::control::{Command, Handler, Meter};
use crate::mqtt::LinkHandle;
use crate::sinks;
use crate::status::{Parts, Setup, Status, compose};

/// How long a status waits for the store, which may be held up by the very disk that somebody
/// asks about. Without its answer the rest is told, and the store's part is unknown.
const STORE_PATIENCE: Duration = Duration::from_secs(2);

/// Where the answers are.
pub(super) struct Answers {
    /// The core.
    pub questions: mpsc::Sender<Question>,
    /// What the gateway was set up with.
    pub setup: Setup,
    /// What each sink is doing.
    pub sinks: BTreeMap<String, watch::Receiver<sinks::Status>>,
    /// The link to the broker.
    pub link: LinkHandle,
    /// What the control socket counts, where there is one.
    pub control: Option<Meter>,
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
        let sinks = self.sinks.iter();
        let parts = Parts {
            core,
            store: store.and_then(Result::ok),
            sinks: sinks
                .map(|(name, status)| (name.clone(), status.borrow().clone()))
                .collect(),
            link: (self.link.is_up(), self.link.counters()),
            control: self.control.as_ref().map(Meter::counts),
        };
        Some(compose(&self.setup, &parts))
    }

    async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Question) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.questions.try_send(question(answer)).ok()?;
        answered.await.ok()
    }
}

impl Handler for Answers {
    async fn answer(&self, command: Command) -> Result<Value, String> {
        let answer = match command {
            Command::Ledger => self.ledger().await,
            Command::Status => self
                .status()
                .await
                .and_then(|status| serde_json::to_value(status).ok()),
        };
        answer.ok_or_else(|| "the gateway is busy or stopping; ask again".into())
    }
}
