//! What a connection is doing: told by its service and its set-up, asked by the clocks of its transport.
//!
//! HTTP/1 does one thing at a time. An HTTP/2 connection answers many requests at once; of each we know whether
//! it waits for us (for the store, say) or for the client, which may leave its flow-control window shut while
//! TCP would take more.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;

use futures_util::task::AtomicWaker;

use super::guarded_stream::Ended;
use crate::framing::BadHead;

/// What a connection is doing, shared by its transport and its service.
#[derive(Debug, Default)]
pub(crate) struct Phase {
    /// What it is when no request is being answered.
    resting: AtomicU8,
    /// Requests being answered.
    answering: AtomicUsize,
    /// Responses of HTTP/2 of which the client does not take what is at hand.
    blocked: AtomicUsize,
    /// Pieces of HTTP/2 responses that the client has made room for.
    pieces: AtomicUsize,
    is_http2: AtomicBool,
    /// Bodies of uploads that are being read.
    uploads: AtomicUsize,
    /// The last request was an upload: the next one may be its next piece.
    expects_upload: AtomicBool,
    /// Bytes that the socket takes in one write.
    room: AtomicUsize,
    /// Why we end it, if we do.
    ended: OnceLock<Ended>,
    /// Woken when a first response is blocked, because nothing else might wake the transport then.
    transport: AtomicWaker,
    refusal: OnceLock<BadHead>,
}

/// What a connection's client is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaited {
    /// The first request.
    First,
    /// The next one.
    Next,
    /// The rest of a TLS handshake.
    Handshake,
    /// The rest of a request head.
    Head,
    /// A window of HTTP/2 for what is at hand.
    Window,
    /// Nothing: it is our turn.
    Nothing,
}

const FIRST: u8 = 0;
const NEXT: u8 = 1;
const HANDSHAKE: u8 = 2;
const HEAD: u8 = 3;

/// One request being answered, until dropped.
#[derive(Debug)]
pub(crate) struct Answering {
    phase: Arc<Phase>,
    is_blocked: bool,
}

/// The body of an upload being read, until dropped.
#[derive(Debug)]
pub(crate) struct TakingUpload(Arc<Phase>);

// === impl Phase ===

impl Phase {
    /// A request head is complete; until the value drops, only the response is timed.
    pub(crate) fn begin(self: &Arc<Self>) -> Answering {
        self.answering.fetch_add(1, Ordering::Relaxed);
        self.expects_upload.store(false, Ordering::Relaxed);
        self.resting.store(NEXT, Ordering::Relaxed);
        Answering { phase: self.clone(), is_blocked: false }
    }

    /// The body of an upload is read from now on, until the value drops.
    pub(crate) fn take_upload(self: &Arc<Self>) -> TakingUpload {
        self.uploads.fetch_add(1, Ordering::Relaxed);
        self.expects_upload.store(true, Ordering::Relaxed);
        TakingUpload(self.clone())
    }

    /// Whether an upload is being read, or was what came last.
    pub(super) fn takes_uploads(&self) -> bool {
        self.uploads.load(Ordering::Relaxed) > 0 || self.expects_upload.load(Ordering::Relaxed)
    }

    /// The connection was ended because its client took nothing for too long.
    pub(crate) fn is_stalled(&self) -> bool {
        matches!(self.ended(), Some(Ended::Stalled | Ended::Window))
    }

    /// Why we have ended the connection, if we have.
    pub(super) fn ended(&self) -> Option<Ended> {
        self.ended.get().copied()
    }

    /// What was wrong with the head in whose place another one stands.
    pub(crate) fn refusal(&self) -> Option<BadHead> {
        self.refusal.get().copied()
    }

    /// The client has sent what is no request; nothing after that is looked at.
    pub(super) fn refuse(&self, bad: BadHead) {
        // It happens once.
        let _ = self.refusal.set(bad);
    }

    /// No request has begun on this connection.
    pub(super) fn is_new(&self) -> bool {
        matches!(self.awaited(), Awaited::First | Awaited::Handshake)
    }

    pub(super) fn handshake_begins(&self) {
        self.resting.store(HANDSHAKE, Ordering::Relaxed);
    }

    pub(super) fn handshake_ended(&self) {
        self.resting.store(FIRST, Ordering::Relaxed);
    }

    /// HTTP/2 it is. Its bytes are no longer taken for the beginning of a head: they may be a PING.
    pub(super) fn speaks_http2(&self) {
        self.is_http2.store(true, Ordering::Relaxed);
        self.resting.store(FIRST, Ordering::Relaxed);
    }

    /// Bytes have come. Says whether they begin a request head.
    pub(super) fn bytes_came(&self) -> bool {
        let begins_head = matches!(self.awaited(), Awaited::First | Awaited::Next)
            && !self.is_http2.load(Ordering::Relaxed);
        if begins_head {
            self.resting.store(HEAD, Ordering::Relaxed);
        }
        begins_head
    }

    /// Ends the connection: what is returned is the error of its transport.
    pub(super) fn end(&self, why: Ended) -> io::Error {
        // The first reason is the reason.
        let _ = self.ended.set(why);
        io::Error::new(io::ErrorKind::TimedOut, why)
    }

    /// Grows whenever the client has taken a piece of an HTTP/2 response.
    pub(super) fn pieces(&self) -> usize {
        self.pieces.load(Ordering::Relaxed)
    }

    /// So many bytes the socket takes in one write from now on.
    pub(super) fn makes_room(&self, bytes: usize) {
        self.room.store(bytes, Ordering::Relaxed);
    }

    /// Bytes that the socket takes in one write, as of the last one.
    pub(super) fn room(&self) -> usize {
        self.room.load(Ordering::Relaxed)
    }

    /// What to wait for. `waker` is woken when nothing turns into a window.
    pub(super) fn await_for(&self, waker: &Waker) -> Awaited {
        let awaited = self.awaited();
        if awaited != Awaited::Nothing || !self.is_http2.load(Ordering::Relaxed) {
            return awaited;
        }
        self.transport.register(waker);
        self.awaited()
    }

    fn awaited(&self) -> Awaited {
        if self.answering.load(Ordering::Relaxed) > 0 {
            return if self.blocked.load(Ordering::Relaxed) > 0 { Awaited::Window } else { Awaited::Nothing };
        }
        match self.resting.load(Ordering::Relaxed) {
            FIRST => Awaited::First,
            NEXT => Awaited::Next,
            HANDSHAKE => Awaited::Handshake,
            _ => Awaited::Head,
        }
    }
}

// === impl Answering ===

impl Answering {
    /// The response has handed on a piece of itself, or (`false`) is asked for the next one.
    pub(crate) fn is_blocked(&mut self, is_blocked: bool) {
        // In HTTP/1 what is not taken stays in the transport, which sees that itself.
        if is_blocked == self.is_blocked || !self.phase.is_http2.load(Ordering::Relaxed) {
            return;
        }
        self.is_blocked = is_blocked;
        if !is_blocked {
            self.phase.blocked.fetch_sub(1, Ordering::Relaxed);
            self.phase.pieces.fetch_add(1, Ordering::Relaxed);
        } else if self.phase.blocked.fetch_add(1, Ordering::Relaxed) == 0 {
            self.phase.transport.wake();
        }
    }

    /// How much of a response is worth handing on at a time. On HTTP/2 a stream that its client does not read keeps what
    /// it was given, so it is given as little as can be.
    pub(crate) fn room(&self) -> usize {
        if self.phase.is_http2.load(Ordering::Relaxed) { 0 } else { self.phase.room() }
    }

    /// See [`Phase::is_stalled`].
    pub(crate) fn is_stalled(&self) -> bool {
        self.phase.is_stalled()
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.is_blocked(false);
        self.phase.answering.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl TakingUpload ===

impl Drop for TakingUpload {
    fn drop(&mut self) {
        self.0.uploads.fetch_sub(1, Ordering::Relaxed);
    }
}
