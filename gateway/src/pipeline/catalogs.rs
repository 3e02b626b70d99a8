//! Catalogs of one device: put together from their parts, verified, and remembered by hash.
//!
//! Parts come in frames, so in order and once; a part that does not continue the one before is
//! dropped and the device is asked again when a batch names the catalog.

use serde::{Deserialize, Serialize};
use tidegate_shared::catalog::{self, Sensors};
use tidegate_shared::ids::{CatalogHash, Incarnation};
use tidegate_shared::message::CatalogPart;
use tidegate_shared::mutation::{Mutation, is_on};

use super::sensor::Meta;

/// Catalogs remembered; the one learnt longest ago is forgotten for a fifth (never the one in
/// use). A device has one at a time; a few cover batches held over a reconfiguration.
pub(super) const CATALOGS_MAX: usize = 4;
/// Most bytes of a catalog: 256 sensors of the longest description.
pub(super) const CATALOG_BYTES_MAX: usize = 64 * 1_024;

/// A device's catalogs.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Catalogs {
    known: Vec<Known>,
    assembly: Option<Assembly>,
}

/// A catalog that came whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Known {
    hash: CatalogHash,
    /// Its sensors; `None` when its bytes cannot be read, although they are as sent.
    sensors: Option<Vec<Meta>>,
}

/// A catalog on its way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Assembly {
    incarnation: Incarnation,
    hash: CatalogHash,
    parts: u16,
    next: u16,
    bytes: Vec<u8>,
}

/// What is known of a catalog.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Found<'a> {
    /// Its sensors by index.
    Sensors(&'a [Meta]),
    /// It came, but cannot be read: no batch of it ever can.
    Unreadable,
    /// It has not come yet.
    Missing,
}

impl Catalogs {
    /// Looks a catalog up.
    pub fn find(&self, hash: CatalogHash) -> Found<'_> {
        let is_meant = |one: &&Known| one.hash == hash || is_on(Mutation::NewestCatalog);
        match self.known.iter().rfind(is_meant) {
            Some(Known {
                sensors: Some(sensors),
                ..
            }) => Found::Sensors(sensors),
            Some(_) => Found::Unreadable,
            None => Found::Missing,
        }
    }

    /// Takes a part. `false` when it cannot be used: out of order, too long, or its catalog does
    /// not hash to its name or cannot be read.
    pub fn take(
        &mut self,
        incarnation: Incarnation,
        part: &CatalogPart<'_>,
        in_use: Option<CatalogHash>,
    ) -> bool {
        if self.known.iter().any(|one| one.hash == part.hash) {
            return true;
        }
        if part.part == 0 {
            self.assembly = Some(Assembly {
                incarnation,
                hash: part.hash,
                parts: part.parts,
                next: 0,
                bytes: Vec::new(),
            });
        }
        let Some(assembly) = self.assembly.as_mut().filter(|one| {
            (one.incarnation, one.hash, one.parts, one.next)
                == (incarnation, part.hash, part.parts, part.part)
                && one.bytes.len() + part.bytes.len() <= CATALOG_BYTES_MAX
        }) else {
            self.assembly = None;
            return false;
        };
        assembly.bytes.extend_from_slice(part.bytes);
        assembly.next += 1;
        if assembly.next < assembly.parts {
            return true;
        }
        let bytes = std::mem::take(&mut assembly.bytes);
        self.assembly = None;
        if catalog::hash(&bytes) != part.hash {
            return false;
        }
        let sensors = read(&bytes);
        let readable = sensors.is_some();
        if self.known.len() >= CATALOGS_MAX {
            let oldest = self.known.iter().position(|one| Some(one.hash) != in_use);
            self.known.remove(oldest.unwrap_or(0));
        }
        self.known.push(Known {
            hash: part.hash,
            sensors,
        });
        readable
    }
}

/// A catalog's sensors, unless it cannot be read or names one twice.
fn read(bytes: &[u8]) -> Option<Vec<Meta>> {
    let sensors = Sensors::new(bytes).ok()?;
    let metas: Vec<Meta> = sensors
        .map(|info| info.ok().map(|info| Meta::from(&info)))
        .collect::<Option<_>>()?;
    let mut names: Vec<&str> = metas.iter().map(|meta| meta.name.as_str()).collect();
    names.sort_unstable();
    let twice = names.windows(2).any(|pair| pair[0] == pair[1]);
    (!twice).then_some(metas)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_shared::catalog::{Kind, Scale, SensorInfo};

    const ONE: Incarnation = Incarnation(1);

    fn bytes(names: &[&str]) -> Vec<u8> {
        let sensors: Vec<SensorInfo<'_>> = names
            .iter()
            .map(|name| SensorInfo {
                id: (*name).try_into().unwrap(),
                unit: "bar",
                kind: Kind::Gauge,
                scale: Scale::decimal(-2),
                urgent: false,
                tags: heapless::Vec::new(),
            })
            .collect();
        let mut out = [0; 1_024];
        catalog::write(&sensors, &mut out).unwrap().to_vec()
    }

    fn part<'a>(whole: &[u8], part: u16, parts: u16, bytes: &'a [u8]) -> CatalogPart<'a> {
        CatalogPart {
            hash: catalog::hash(whole),
            part,
            parts,
            bytes,
        }
    }

    #[test]
    fn parts_make_a_catalog_in_order_only() {
        let whole = bytes(&["a", "b"]);
        let (first, second) = whole.split_at(5);
        let hash = catalog::hash(&whole);
        let mut catalogs = Catalogs::default();
        assert!(!catalogs.take(ONE, &part(&whole, 1, 2, second), None));
        assert!(catalogs.take(ONE, &part(&whole, 0, 2, first), None));
        assert!(!catalogs.take(Incarnation(2), &part(&whole, 1, 2, second), None));
        assert_eq!(catalogs.find(hash), Found::Missing);
        assert!(catalogs.take(ONE, &part(&whole, 0, 2, first), None));
        assert!(catalogs.take(ONE, &part(&whole, 1, 2, second), None));
        assert!(matches!(catalogs.find(hash), Found::Sensors(metas) if metas.len() == 2));
    }

    #[test]
    fn a_catalog_that_cannot_be_read_is_known_as_such() {
        let mut catalogs = Catalogs::default();
        for wrong in [bytes(&["a", "a"]), vec![9, 9, 9]] {
            assert!(!catalogs.take(ONE, &part(&wrong, 0, 1, &wrong), None));
            assert_eq!(catalogs.find(catalog::hash(&wrong)), Found::Unreadable);
        }
        let whole = bytes(&["a"]);
        assert!(!catalogs.take(ONE, &part(&whole, 0, 1, &whole[1..]), None));
        assert_eq!(catalogs.find(catalog::hash(&whole)), Found::Missing);
    }

    #[test]
    fn the_oldest_catalog_not_in_use_is_forgotten() {
        let mut catalogs = Catalogs::default();
        let wholes: Vec<_> = ["a", "b", "c", "d", "e"].map(|name| bytes(&[name])).into();
        let in_use = Some(catalog::hash(&wholes[0]));
        for whole in &wholes {
            assert!(catalogs.take(ONE, &part(whole, 0, 1, whole), in_use));
        }
        assert_eq!(catalogs.find(catalog::hash(&wholes[1])), Found::Missing);
        assert!(matches!(
            catalogs.find(catalog::hash(&wholes[0])),
            Found::Sensors(_)
        ));
    }
}
