//! What is asked: a server, and objects on it.

use std::{net::SocketAddr, ops::Range};

use crate::pattern;

/// A server, and the objects on it that are asked for.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// What to say in `Host`.
    pub host: String,
    /// At least one.
    pub films: Vec<Film>,
}

/// An object.
#[derive(Debug, Clone)]
pub struct Film {
    /// What to ask for: a path, percent-encoded, perhaps with a query; for uploads, where they are created.
    pub path: String,
    /// Its length in bytes.
    pub size: u64,
    /// The seed of the [`pattern`] that it is made of; without one its bytes cannot be verified.
    pub seed: Option<u64>,
}

// === impl Target ===

impl Target {
    /// The objects of a shaped origin that serves `path/film-0.mp4` and so on, each with its number as its seed.
    pub fn of_patterns(address: SocketAddr, prefix: &str, films: usize, size: u64) -> Self {
        let film = |nth| Film { path: format!("{prefix}{}", Film::name(nth)), size, seed: Some(nth as u64) };
        Self { address, host: address.to_string(), films: (0..films).map(film).collect() }
    }

    /// Film number `nth`, and then the first again.
    pub(crate) fn film(&self, nth: u64) -> &Film {
        &self.films[usize::try_from(nth).unwrap_or(usize::MAX) % self.films.len()]
    }

    /// The length of the shortest film.
    pub fn shortest(&self) -> u64 {
        self.films.iter().map(|film| film.size).min().expect("at least one film")
    }

    /// The request head for `range` of a film.
    pub(crate) fn request(&self, film: &Film, range: &Range<u64>) -> Vec<u8> {
        self.head(film, &format!("{}-{}", range.start, range.end - 1))
    }

    /// The request head for a film from `start` to its end, as players ask.
    pub(crate) fn open_request(&self, film: &Film, start: u64) -> Vec<u8> {
        self.head(film, &format!("{start}-"))
    }

    fn head(&self, film: &Film, range: &str) -> Vec<u8> {
        let (path, host) = (&film.path, &self.host);
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nRange: bytes={range}\r\n\r\n").into_bytes()
    }
}

// === impl Film ===

impl Film {
    /// What film number `nth` is called everywhere.
    pub fn name(nth: usize) -> String {
        format!("film-{nth}.mp4")
    }

    /// Where the first wrong one of `bytes`, which begin at `offset`, lies in the film.
    pub(crate) fn first_wrong(&self, offset: u64, bytes: &[u8]) -> Option<u64> {
        self.seed.and_then(|seed| pattern::verify(seed, offset, bytes))
    }
}
