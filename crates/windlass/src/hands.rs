//! What a person asks of the queue, done on an open store: by a running instance for `windlass queue`, or by `windlass
//! queue` itself where none runs.

use windlass_store::{Intervened, Intervention, Item, Store, StoreError};
use windlass_web::QueueAnswer;

/// Names that are looked through for ones like an unknown one.
const MAX_NAMES: usize = 10_000;
/// How many of them are shown.
const MAX_NEAR: usize = 3;
/// Names that differ more than this are not alike: from 0, nothing in common, to 1, equal.
const ALIKE: f64 = 0.6;

/// Does it, and says what waits under a like name where there is nothing of this one.
pub(crate) async fn intervene(store: &Store, intervention: Intervention) -> QueueAnswer {
    let asked = match &intervention {
        Intervention::Retry(item) | Intervention::Drop(item) => Some(item.clone()),
        Intervention::RetryAll => None,
    };
    let answer = async {
        Ok::<_, StoreError>(match (store.intervene(intervention).await?, asked) {
            (Intervened::Changed(items), _) => QueueAnswer::Changed { items },
            (Intervened::Due, _) => QueueAnswer::Due,
            (Intervened::Busy, _) => QueueAnswer::Busy,
            (Intervened::Unknown, Some(item)) => QueueAnswer::Unknown { near: near(store, &item).await? },
            (Intervened::Unknown, None) => QueueAnswer::Unknown { near: Vec::new() },
        })
    };
    answer.await.unwrap_or_else(|error| QueueAnswer::Unavailable { why: error.to_string() })
}

async fn near(store: &Store, item: &Item) -> Result<Vec<String>, StoreError> {
    let works = store.queued(MAX_NAMES).await?.into_iter().map(|work| work.target.to_string());
    let dead = store.outbox_dead(MAX_NAMES).await?.into_iter().map(|notice| notice.id);
    Ok(alike(&item.to_string(), works.chain(dead)))
}

/// The names that are like the wanted one, the likest first.
fn alike(wanted: &str, names: impl Iterator<Item = String>) -> Vec<String> {
    let wanted = wanted.to_lowercase();
    let likeness = |name: &String| strsim::normalized_damerau_levenshtein(&wanted, &name.to_lowercase());
    let mut found: Vec<(f64, String)> =
        names.map(|name| (likeness(&name), name)).filter(|(likeness, _)| *likeness >= ALIKE).collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    found.into_iter().take(MAX_NEAR).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::alike;

    #[test]
    fn mistyped_names_find_what_was_meant_and_others_do_not() {
        let names = ["ImageRepository/apps/podinfo", "ImageRepository/apps/podinfa", "1f2e/apps/slack"];
        let near = |wanted: &str| alike(wanted, names.iter().map(ToString::to_string));
        assert_eq!(near("ImageRepository/apps/podinfoo"), names[..2]);
        assert_eq!(near("imagerepository/APPS/podinfa"), [names[1], names[0]]);
        assert_eq!(near("1f2e/apps/slac"), [names[2]]);
        assert_eq!(near("GitRepository/x/y"), [""; 0]);
    }
}
