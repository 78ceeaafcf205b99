//! How far the layers of an image are on their way into the registry: each by itself, and in all, with the rate and the
//! time that is left.

use super::text::{bytes, duration};
use crate::execute::event::{BlobProgress, BlobState};
use crate::model::counted;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// The rate is that of the last seconds: a long push is not as fast now as it was at its start.
const WINDOW: Duration = Duration::from_secs(8);

/// Before that a rate is a guess.
const FIRST_RATE: Duration = Duration::from_millis(700);

/// From then on it is none, whatever has moved.
const SURE_RATE: Duration = Duration::from_secs(4);

/// Bytes that make a rate worth telling.
const ENOUGH: u64 = 1000 * 1000;

/// So many layers have a line of their own; the others are counted.
const LINES: usize = 6;

/// The width of a bar in characters.
const BAR: usize = 10;

/// How far the layers of an image are.
#[derive(Clone, Debug, Default)]
pub(super) struct Moving {
    /// The blobs by their number.
    blobs: BTreeMap<usize, Followed>,
    /// Bytes that had been sent at moments of the last seconds.
    samples: VecDeque<(Duration, u64)>,
    /// Bytes done and in all, as told by whoever does not tell of single blobs.
    told: Option<(u64, u64)>,
}

/// A blob and since when it has been sent.
#[derive(Clone, Debug)]
struct Followed {
    /// How far it is.
    progress: BlobProgress,
    /// When its first byte was sent, since the start of the run.
    began: Option<Duration>,
    /// Whether it was made here.
    made: bool,
}

/// The sums of a transfer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    /// Bytes that were sent.
    pub(super) sent: u64,
    /// Bytes that are to be sent in all, as far as is known.
    pub(super) total: u64,
    /// Bytes that were made here: compressed.
    pub(super) compressed: u64,
    /// Bytes that the registry had.
    pub(super) reused: u64,
    /// Bytes that the registry took from another repository.
    pub(super) mounted: u64,
    /// Whether more bytes are still being made.
    pub(super) grows: bool,
}

impl Moving {
    /// Takes in how far a blob is.
    pub(super) fn take(&mut self, at: Duration, progress: &BlobProgress) {
        let known = self.blobs.get(&progress.number);
        let begins = matches!(progress.state, BlobState::Making | BlobState::Waiting);
        if begins && known.is_some_and(|known| known.progress.state.is_done()) {
            *self = Self::default(); // another push of the same image, which counts from zero
        }
        let sending = !matches!(progress.state, BlobState::Making | BlobState::Waiting);
        let known = self.blobs.get(&progress.number);
        let began = known.and_then(|known| known.began).or(sending.then_some(at));
        let made = progress.state == BlobState::Making || known.is_some_and(|known| known.made);
        self.blobs.insert(progress.number, Followed { progress: progress.clone(), began, made });
        let sent = self.sums().sent;
        if self.samples.back().is_some_and(|(_, last)| *last > sent) {
            self.samples.clear(); // what is sent again was not fast
        }
        self.samples.push_back((at, sent));
        while self.samples.len() > 2 && at.saturating_sub(self.samples[1].0) > WINDOW {
            self.samples.pop_front();
        }
    }

    /// Takes in how far the whole is.
    pub(super) fn take_sum(&mut self, done: u64, total: u64) {
        self.told = Some((done, total)).filter(|(_, total)| *total > 0);
    }

    /// Whether something is on its way.
    pub(super) fn is_going_on(&self) -> bool {
        self.blobs.values().any(|blob| !blob.progress.state.is_done())
    }

    /// The sums.
    pub(super) fn sums(&self) -> Sums {
        let mut sums = Sums::default();
        for Followed { progress: blob, made, .. } in self.blobs.values() {
            let total = blob.total.unwrap_or(blob.done);
            if *made {
                sums.compressed += total;
            }
            match blob.state {
                BlobState::Existed => sums.reused += total,
                BlobState::Mounted => sums.mounted += total,
                BlobState::Making => {
                    sums.grows = true;
                    sums.total += blob.done;
                }
                BlobState::Waiting => sums.total += total,
                BlobState::Sending | BlobState::Storing | BlobState::Sent => {
                    sums.sent += blob.done;
                    sums.total += total;
                    sums.grows |= blob.total.is_none();
                }
            }
        }
        sums
    }

    /// Bytes a second in the last seconds; `None` where nothing moves or too little is known yet.
    fn rate(&self, now: Duration) -> Option<u64> {
        let (first, last) = (self.samples.front()?, self.samples.back()?);
        let time = now.saturating_sub(first.0);
        let moved = last.1.saturating_sub(first.1);
        // Small blobs go first, and tell nothing of the rate of the large ones.
        let known = time >= SURE_RATE || (time >= FIRST_RATE && moved >= ENOUGH);
        if !known || moved == 0 {
            return None;
        }
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
        Some(moved.saturating_mul(1000) / millis)
    }

    /// `7.1 MB of 31.2 MB, 4.1 MB/s, 6 s left, 20.0 MB compressed, 31.0 MB reused, 5.0 MB mounted`; empty where nothing is on its way.
    pub(super) fn summary(&self, now: Duration) -> String {
        if self.blobs.is_empty() {
            return self.told.map_or_else(String::new, |(done, total)| format!("{} of {}", bytes(done), bytes(total)));
        }
        if !self.is_going_on() {
            return String::new();
        }
        self.sums().text(self.rate(now))
    }

    /// One line a layer that is on its way, those that are furthest first; the rest is counted.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut open: Vec<&BlobProgress> =
            self.blobs.values().map(|blob| &blob.progress).filter(|blob| !blob.state.is_done()).collect();
        if open.len() + self.blobs.values().filter(|blob| blob.progress.state.is_done()).count() < 2 {
            return Vec::new(); // the sum says it all
        }
        open.sort_by_key(|blob| (order(blob.state), blob.number));
        let mut lines: Vec<String> = open.iter().take(LINES).map(|blob| line(blob)).collect();
        if open.len() > LINES {
            lines.push(format!("{} more", counted(open.len() - LINES, "layer")));
        }
        lines
    }

    /// What a log says of a blob that is there: only of those that took their time.
    pub(super) fn arrival(&self, number: usize, now: Duration) -> Option<String> {
        /// Smaller layers are a line's worth of nothing.
        const WORTH_A_LINE: u64 = 16 * 1000 * 1000;
        let blob = self.blobs.get(&number).filter(|blob| blob.progress.state == BlobState::Sent)?;
        let size = blob.progress.total.filter(|size| *size >= WORTH_A_LINE)?;
        let took = now.saturating_sub(blob.began?);
        let name = name(&blob.progress);
        Some(format!("layer {name} sent, {} in {}", bytes(size), duration(took)))
    }
}

impl Sums {
    /// The sums as text, with this many bytes a second.
    fn text(self, rate: Option<u64>) -> String {
        let others = [(self.compressed, "compressed"), (self.reused, "reused"), (self.mounted, "mounted")];
        let others = others.into_iter().filter(|(sum, _)| *sum > 0);
        let others = others.map(|(sum, what)| format!(", {} {what}", bytes(sum))).collect::<Vec<_>>().concat();
        let of = match (self.total, self.grows) {
            (0, true) => return others.trim_start_matches(", ").to_owned(),
            (total, true) => format!("{} of {} so far", bytes(self.sent), bytes(total)),
            (total, false) => format!("{} of {}", bytes(self.sent), bytes(total)),
        };
        let left = self.total.saturating_sub(self.sent);
        match rate.filter(|rate| *rate > 0) {
            _ if left == 0 && !self.grows => format!("{of}, the registry stores it{others}"),
            None => format!("{of}{others}"),
            Some(rate) if self.grows => format!("{of}, {}/s{others}", bytes(rate)),
            Some(rate) => {
                let seconds = Duration::from_secs(left.div_ceil(rate));
                format!("{of}, {}/s, {} left{others}", bytes(rate), whole(seconds))
            }
        }
    }
}

/// The same over several images, where more than one is on its way.
pub(super) fn in_all<'a>(images: impl Iterator<Item = &'a Moving>, now: Duration) -> Option<String> {
    let moving: Vec<&Moving> = images.filter(|moving| !moving.blobs.is_empty()).collect();
    if moving.iter().filter(|moving| moving.is_going_on()).count() < 2 {
        return None;
    }
    let add = |all: Sums, one: Sums| Sums {
        sent: all.sent + one.sent,
        total: all.total + one.total,
        compressed: all.compressed + one.compressed,
        reused: all.reused + one.reused,
        mounted: all.mounted + one.mounted,
        grows: all.grows || one.grows,
    };
    let sums = moving.iter().map(|moving| moving.sums()).reduce(add)?;
    let rates: Vec<u64> = moving.iter().filter_map(|moving| moving.rate(now)).collect();
    let rate = (!rates.is_empty()).then(|| rates.iter().sum());
    Some(format!("in all {}", sums.text(rate)))
}

/// The order in which layers are shown.
fn order(state: BlobState) -> u8 {
    match state {
        BlobState::Storing => 0,
        BlobState::Sending => 1,
        BlobState::Making => 2,
        _ => 3,
    }
}

/// What a layer is called: by its digest, or by its number as long as that is not known.
fn name(blob: &BlobProgress) -> String {
    match &blob.digest {
        Some(digest) => format!("sha256:{}", digest.short()),
        None => format!("blob {}", blob.number + 1),
    }
}

/// One layer: `██████░░░░  7.1 MB of 31.2 MB  sending sha256:9f8e7d6c`.
fn line(blob: &BlobProgress) -> String {
    let share = match (blob.state, blob.total) {
        (BlobState::Storing, _) => BAR,
        (BlobState::Sending, Some(total)) if total > 0 => {
            usize::try_from(blob.done.saturating_mul(BAR as u64) / total).unwrap_or(BAR).min(BAR)
        }
        _ => 0,
    };
    let bar = format!("{}{}", "█".repeat(share), "░".repeat(BAR - share));
    let (what, size) = match (blob.state, blob.total) {
        (BlobState::Making, _) => ("compressing", bytes(blob.done)),
        (BlobState::Sending, Some(total)) => ("sending", format!("{} of {}", bytes(blob.done), bytes(total))),
        (BlobState::Sending, None) => ("sending", format!("{} so far", bytes(blob.done))),
        (BlobState::Storing, total) => ("being stored", bytes(total.unwrap_or(blob.done))),
        (_, total) => ("waiting", total.map(bytes).unwrap_or_default()),
    };
    format!("{bar}  {size:>20}  {what} {}", name(blob))
}

/// A time that is left, without false precision: `6 s`, `2 min 05 s`.
fn whole(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 100 { format!("{seconds} s") } else { duration(time) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Digest;

    /// A blob of a number, in a state.
    fn blob(number: usize, state: BlobState, done: u64, total: u64) -> BlobProgress {
        let digest = (state != BlobState::Making).then(|| Digest::of(&[u8::try_from(number).unwrap()]));
        BlobProgress { number, digest, done, total: Some(total).filter(|_| state != BlobState::Making), state }
    }

    /// A moment of the run.
    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_rate_and_the_time_left_follow_the_last_seconds() {
        let mut moving = Moving::default();
        moving.take(at(0), &blob(0, BlobState::Waiting, 0, 100_000_000));
        moving.take(at(0), &blob(1, BlobState::Existed, 50_000_000, 50_000_000));
        assert_eq!(moving.summary(at(500)), "0 B of 100.0 MB, 50.0 MB reused");
        for second in 1..=20 {
            // Fast at first, then two megabytes a second.
            let done = if second < 5 { second * 10_000_000 } else { 40_000_000 + (second - 5) * 2_000_000 };
            moving.take(at(second * 1000), &blob(0, BlobState::Sending, done, 100_000_000));
        }
        assert_eq!(moving.summary(at(20_000)), "70.0 MB of 100.0 MB, 2.0 MB/s, 15 s left, 50.0 MB reused");
        assert_eq!(moving.sums().reused, 50_000_000);
        moving.take(at(35_000), &blob(0, BlobState::Storing, 100_000_000, 100_000_000));
        assert_eq!(moving.summary(at(36_000)), "100.0 MB of 100.0 MB, the registry stores it, 50.0 MB reused");
        moving.take(at(40_000), &blob(0, BlobState::Sent, 100_000_000, 100_000_000));
        assert_eq!(moving.summary(at(40_000)), "");
        assert_eq!(moving.arrival(0, at(40_000)).unwrap(), "layer sha256:6e340b9c sent, 100.0 MB in 39.0 s");
        assert_eq!(moving.arrival(1, at(40_000)), None);
    }

    #[test]
    fn what_is_still_made_has_no_time_left() {
        let mut moving = Moving::default();
        moving.take(at(0), &blob(0, BlobState::Making, 3_000_000, 0));
        moving.take(at(0), &blob(1, BlobState::Sending, 0, 10_000_000));
        moving.take(at(2000), &blob(1, BlobState::Sending, 4_000_000, 10_000_000));
        assert_eq!(moving.summary(at(2000)), "4.0 MB of 13.0 MB so far, 2.0 MB/s, 3.0 MB compressed");
        moving.take(at(2000), &blob(2, BlobState::Mounted, 5_000_000, 5_000_000));
        moving.take(at(2000), &blob(3, BlobState::Existed, 6_000_000, 6_000_000));
        moving.take(at(3000), &blob(0, BlobState::Sending, 1_000_000, 9_000_000));
        let after = ", 9.0 MB compressed, 6.0 MB reused, 5.0 MB mounted";
        assert_eq!(moving.summary(at(3000)), format!("5.0 MB of 19.0 MB, 1.6 MB/s, 9 s left{after}"));
    }

    #[test]
    fn a_small_blob_tells_no_rate() {
        let mut moving = Moving::default();
        moving.take(at(0), &blob(0, BlobState::Sending, 0, 700));
        moving.take(at(0), &blob(1, BlobState::Waiting, 0, 90_000_000));
        moving.take(at(900), &blob(0, BlobState::Sent, 700, 700));
        assert_eq!(moving.summary(at(1000)), "700 B of 90.0 MB");
    }

    #[test]
    fn several_images_have_a_line_for_all() {
        let mut images = [Moving::default(), Moving::default()];
        images[0].take(at(0), &blob(0, BlobState::Sending, 0, 10_000_000));
        assert_eq!(in_all(images.iter(), at(0)), None);
        images[1].take(at(0), &blob(0, BlobState::Sending, 0, 30_000_000));
        images[0].take(at(2000), &blob(0, BlobState::Sending, 4_000_000, 10_000_000));
        images[1].take(at(2000), &blob(0, BlobState::Sending, 6_000_000, 30_000_000));
        let text = in_all(images.iter(), at(2000)).unwrap();
        assert_eq!(text, "in all 10.0 MB of 40.0 MB, 5.0 MB/s, 6 s left");
    }

    #[test]
    fn layers_have_a_line_each() {
        let mut moving = Moving::default();
        for progress in [
            blob(0, BlobState::Existed, 5, 5),
            blob(1, BlobState::Sending, 7_100_000, 31_200_000),
            blob(2, BlobState::Making, 12_000_000, 0),
            blob(3, BlobState::Waiting, 0, 1234),
            blob(4, BlobState::Storing, 9_900_000, 9_900_000),
        ] {
            moving.take(at(0), &progress);
        }
        let wanted = [
            "██████████                9.9 MB  being stored sha256:e52d9c50",
            "██░░░░░░░░     7.1 MB of 31.2 MB  sending sha256:4bf5122f",
            "░░░░░░░░░░               12.0 MB  compressing blob 3",
            "░░░░░░░░░░                1.2 kB  waiting sha256:084fed08",
        ];
        assert_eq!(moving.lines(), wanted);
        for number in 5..20 {
            moving.take(at(0), &blob(number, BlobState::Waiting, 0, 10));
        }
        assert_eq!(moving.lines().last().unwrap(), "13 layers more");
    }

    #[test]
    fn another_push_counts_from_zero_and_a_cut_is_not_fast() {
        let mut moving = Moving::default();
        moving.take(at(0), &blob(0, BlobState::Sending, 0, 100));
        moving.take(at(1000), &blob(0, BlobState::Sending, 80, 100));
        moving.take(at(2000), &blob(0, BlobState::Sending, 10, 100));
        assert_eq!(moving.summary(at(3000)), "10 B of 100 B");
        moving.take(at(4000), &blob(0, BlobState::Sent, 100, 100));
        moving.take(at(5000), &blob(0, BlobState::Waiting, 0, 40));
        assert_eq!(moving.summary(at(5000)), "0 B of 40 B");
    }
}
