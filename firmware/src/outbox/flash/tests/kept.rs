//! Flash behind RAM that outlives a soft reset: what the next boot counts.

use super::*;
use crate::outbox::Remains;

type Kept = Remains<2, 512, 8>;
type Behind<'r> = FlashOutbox<Nor<4>, &'r mut Kept, 64, 136>;

fn standing(boot: u32, catalog: CatalogHash) -> Standing {
    Standing {
        incarnation: Incarnation(9),
        boot,
        catalog,
        sensors: 2,
    }
}

fn taken(taken: u64) -> Counts {
    Counts {
        taken,
        ..Counts::default()
    }
}

/// Samples of sensor 0 that the next boot counts as evicted, after this boot took five that stand
/// in no frame, and its flash evicted a batch of three from an earlier boot.
fn evicted_under(catalog: CatalogHash) -> u64 {
    let mut kept = Kept::new();
    assert_eq!(kept.recover(Incarnation(9), &mut [0; 256]), None);
    let mut outbox = Behind::open(Nor::new(), config(), &mut kept).unwrap();
    outbox.adopt(Incarnation(9), 1);
    outbox.stand(Some(&standing(1, HASH)));
    outbox.note(0, &taken(3), 1);
    let (entry, bytes) = frozen(9, mark(1), Content::Batch(HASH), &body(1));
    outbox.push(entry, &bytes, [(0, 3)].into_iter()).unwrap();
    assert_eq!(outbox.spill_now(), 0);
    outbox.stand(Some(&standing(2, catalog)));
    outbox.note(0, &taken(5), 1);
    assert_eq!(outbox.evict(|_, _| ()).map(|gone| gone.mark), Some(mark(1)));
    let past = kept.recover(Incarnation(9), &mut [0; 256]).unwrap();
    past.counts[0].evicted
}

#[test]
fn what_flash_evicts_is_counted_unless_it_is_of_another_catalog() {
    assert_eq!(evicted_under(HASH), 8);
    // Other firmware's sensors: the gateway counts those frames.
    assert_eq!(evicted_under(CatalogHash(8)), 5);
}
