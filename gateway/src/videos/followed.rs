//! Videos whose events somebody follows: one task asks the catalog for the newest event of each, however many follow it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use seekway_catalog::{Catalog, VideoId};
use tokio::sync::watch;
use tokio::time::sleep;

/// Between two looks at the catalog.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The number of a video's newest event; `None` when it is gone.
pub(super) type Newest = Option<i64>;

/// Before the first look: whoever follows has to look for themselves.
const UNKNOWN: Newest = Some(i64::MAX);

/// The videos that are followed. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Followed(Arc<Mutex<HashMap<VideoId, watch::Sender<Newest>>>>);

// === impl Followed ===

impl Followed {
    /// Hears of the newest event of a video, within [`LOOK_EVERY`] and a query, until the receiver is dropped.
    pub(super) fn follow(&self, catalog: &Catalog, video: VideoId) -> watch::Receiver<Newest> {
        let mut followed = self.lock();
        if let Some(newest) = followed.get(&video) {
            return newest.subscribe();
        }
        let (newest, receiver) = watch::channel(UNKNOWN);
        followed.insert(video, newest.clone());
        // Its owners are those who follow: it ends when none is left.
        tokio::spawn(self.clone().look(catalog.clone(), video, newest));
        receiver
    }

    async fn look(self, catalog: Catalog, video: VideoId, newest: watch::Sender<Newest>) {
        while !self.has_ended(video, &newest) {
            // While the database is away, nothing is new.
            if let Ok(number) = catalog.videos().newest_event(video).await {
                newest.send_if_modified(|known| std::mem::replace(known, number) != number);
            }
            tokio::select! {
                () = sleep(LOOK_EVERY) => {}
                () = newest.closed() => {}
            }
        }
    }

    /// Whether nobody follows any more; whoever comes then begins anew.
    fn has_ended(&self, video: VideoId, newest: &watch::Sender<Newest>) -> bool {
        let mut followed = self.lock();
        let has_ended = newest.is_closed();
        if has_ended {
            followed.remove(&video);
        }
        has_ended
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<VideoId, watch::Sender<Newest>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use seekway_catalog::Options;

    use super::*;

    #[tokio::test]
    async fn all_who_follow_a_video_share_one_look() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let url = format!("sqlite:{}", folder.path().join("x.db").display());
        let catalog = Catalog::open(&url.parse().expect("a URL"), &Options::default()).await.expect("opens");
        let followed = Followed::default();
        let id = |last| VideoId::parse(&format!("00000000-0000-7000-8000-00000000000{last}")).expect("an id");
        let mut one = followed.follow(&catalog, id(1));
        let (two, other) = (followed.follow(&catalog, id(1)), followed.follow(&catalog, id(2)));
        assert!(one.same_channel(&two) && !one.same_channel(&other));
        assert_eq!(followed.lock().len(), 2);
        one.wait_for(Option::is_none).await.expect("there is no such video");
        drop((one, other));
        while followed.lock().len() > 1 {
            tokio::task::yield_now().await;
        }
        assert!(followed.follow(&catalog, id(1)).same_channel(&two), "it is still followed");
        drop(two);
        while !followed.lock().is_empty() {
            tokio::task::yield_now().await;
        }
        catalog.close().await;
    }
}
