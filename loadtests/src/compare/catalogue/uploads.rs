//! Files that come in: Seekway beside the official tus server, both in front of one `SeaweedFS`.

use std::time::Duration;

use super::{Form, MIB, Scenario, cold};
use crate::{
    compare::{
        Aim, Beside,
        report::{Bound, Objects},
    },
    load::{Uploads, Workload},
    peers::Kind,
};

/// What clients send at a time where they send pieces; tus clients call it the chunk size.
const PIECE_BYTES: u64 = 8 * MIB;
/// Neither a multiple of a part's length, which is 8 MiB everywhere, nor of a piece's.
const ODD_BYTES: u64 = 12_345;

pub(super) fn scenarios(form: Form) -> Vec<Scenario> {
    let one_request = u64::MAX;
    vec![
        uploads(form, "upload-1", "an upload by tus to SeaweedFS, in one request", 1, one_request),
        uploads(form, "upload-8", "eight uploads at once, each in one request", 8, one_request),
        uploads(form, "upload-1-pieces", "an upload in pieces of 8 MiB", 1, PIECE_BYTES),
        uploads(form, "upload-8-pieces", "eight uploads at once, each in pieces of 8 MiB", 8, PIECE_BYTES),
    ]
}

fn uploads(
    form: Form,
    name: &'static str,
    about: &'static str,
    at_once: usize,
    piece_bytes: u64,
) -> Scenario {
    // As many bytes in all, whatever their number.
    let bytes = form.pick(9 * MIB, 512 * MIB / at_once as u64) + ODD_BYTES;
    Scenario {
        name,
        about,
        workload: Workload::Uploads(Uploads { at_once, bytes, piece_bytes }),
        requests_max: form.pick(2, at_once as u64),
        objects: Objects { count: 0, bytes },
        // The uploads end it.
        time: Some(Duration::from_mins(5)),
        peers: &[Kind::SeekwayUploads, Kind::TusServer],
        aims: vec![THROUGHPUT],
        ..cold()
    }
}

// === What Seekway is to reach ===

const THROUGHPUT: Aim = Aim {
    text: "bytes a second, in parts of @tus/server's",
    of: Kind::SeekwayUploads,
    figure: |figures| figures.gigabytes_per_second,
    beside: Beside::PartsOf(Kind::TusServer),
    bound: Bound::AtLeast(0.9),
};
