//! Source: what shows a plant asks of the running gateway.

use serde_json::Value;

use super::answers::Answers;
use crate::budget::Billed;
use crate::plant::{Chart, Devices, Overview, Selection, Source};
use crate::status::Status;

impl Source for Answers {
    async fn overview(&self) -> Option<Overview> {
        None
    }
    async fn devices(&self, _: Selection) -> Option<Devices> {
        None
    }
    async fn chart(&self, _: String, _: String) -> Option<Option<Chart>> {
        None
    }
    async fn ledger(&self) -> Option<Value> {
        Answers::ledger(self).await
    }
    async fn bill(&self) -> Option<Billed> {
        Answers::bill(self).await
    }
    async fn status(&self) -> Option<Status> {
        Answers::status(self).await
    }
}
