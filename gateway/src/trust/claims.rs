//! Claims: who enrols by them, as registry and audit log both say.

use std::collections::BTreeSet;

use tidegate_shared::claim::{self, ClaimId};
use tidegate_shared::ids::{DeviceName, SiteName};

use super::Trust;
use crate::audit::{self, Who};
use crate::entry::Uncounted;
use crate::registry::registrar::{Granted, NotEnrolled, OrderError};
use crate::registry::{Claim, Registry};
use crate::session::{Claims, OpenClaim};
use crate::time::Timestamp;

impl Trust {
    /// Enrols a device by what it said; the grant that answers it.
    ///
    /// # Errors
    /// It is refused, or could not be carried out or noted: nothing was changed.
    pub fn claim(
        &mut self,
        now: Timestamp,
        (site, device): (&SiteName, &DeviceName),
        said: &[u8],
    ) -> Result<Granted, NotEnrolled> {
        let id = claim::claim_id(said).map_err(|_| NotEnrolled::Refused(Uncounted::ClaimForged))?;
        if self.unsaid.contains(&id) {
            return Err(NotEnrolled::Refused(Uncounted::ClaimUnknown));
        }
        self.begin(
            now,
            Who::Claim {
                claim: id.to_string(),
            },
        );
        let _ = self.settle();
        let names = (site, device);
        self.registrar
            .claim(names, said, now.wall_us, &mut self.notes)
    }

    /// Ends the claims that are due; whether others are open since.
    ///
    /// # Errors
    /// It could not be noted or written: it is tried again, and they take nobody meanwhile.
    pub fn end_claims(&mut self, now: Timestamp) -> Result<bool, OrderError> {
        self.begin(now, Who::Gateway);
        let _ = self.settle();
        let ended = self.registrar.end_claims(now.wall_us, &mut self.notes);
        if ended.is_err() {
            self.look_again();
        }
        ended
    }

    /// What was noted and then not written: the log is to be believed.
    pub(super) fn look_again(&mut self) {
        if self.settle().is_ok()
            && let Ok(standing) = self.notes.standing()
        {
            self.unsaid = unsaid(self.registrar.registry(), standing);
        }
    }
}

/// The claims as the session is to know them.
pub(super) fn of(registry: &Registry, standing: &audit::Standing) -> Claims {
    let mut claims = Claims::default();
    for (id, claim) in registry.claims() {
        if let Some((end, _)) = claim.ended() {
            claims.ended.insert(id, end.uncounted());
        } else if let Some(open) = open_claim(standing, id, claim) {
            claims.open.insert(id, open);
        }
    }
    claims
}

/// The claims of a registry that the log does not say are open. All that are opened later are
/// noted before they are.
pub(super) fn unsaid(registry: &Registry, standing: &audit::Standing) -> BTreeSet<ClaimId> {
    let open = registry
        .claims()
        .filter(|(_, claim)| claim.ended().is_none());
    let unsaid = open.filter(|(id, _)| !standing.is_open(&id.to_string()));
    unsaid.map(|(id, _)| id).collect()
}

/// A claim as the session knows it; none that the log does not say is open.
fn open_claim(standing: &audit::Standing, id: ClaimId, claim: &Claim) -> Option<OpenClaim> {
    if !standing.is_open(&id.to_string()) {
        tracing::error!(
            claim = %id,
            "the registry has a claim that the audit log does not say is open: nobody enrols by it; if nobody changed the files, open another with tidegate device claim open"
        );
        return None;
    }
    Some(OpenClaim {
        code: claim.code(id)?,
        prefix: claim.wish().prefix.clone(),
        is_used_up: claim.is_used_up(),
        waiting: claim.waiting().cloned().collect(),
    })
}
