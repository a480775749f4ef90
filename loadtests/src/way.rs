//! A way to a server, for what networks do: what goes through it can be cut, held up, slowed down, or answered by somebody
//! who is not the server.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::sleep,
};

use crate::Error;

/// Bytes that pass at a time.
const PIECE_BYTES: usize = 4096;

/// What becomes of what is sent either way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Traffic {
    /// It arrives.
    #[default]
    Open,
    /// Every connection ends, and each new one at once.
    Cut,
    /// Nothing arrives, and no connection ends. What is under way arrives once that is over.
    Silent,
    /// Every four kilobytes are so long on their way.
    Slow(Duration),
    /// Every connection ends, and whoever sends something on a new one is told this, and no more.
    Answered(&'static str),
}

/// A way to one server, from an address of its own. It ends with the value.
#[derive(Debug)]
pub struct Way {
    address: SocketAddr,
    traffic: watch::Sender<Traffic>,
    task: JoinHandle<()>,
}

// === impl Traffic ===

impl Traffic {
    fn ends(self) -> bool {
        matches!(self, Self::Cut | Self::Answered(_))
    }
}

// === impl Way ===

impl Way {
    /// A way that is open.
    ///
    /// # Errors
    /// When there is no free port.
    pub async fn to(server: SocketAddr) -> Result<Self, Error> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let traffic = watch::Sender::new(Traffic::Open);
        let task = tokio::spawn(serve(listener, server, traffic.subscribe()));
        Ok(Self { address, traffic, task })
    }

    /// Where it begins.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What becomes of all that is sent from now on.
    pub fn set(&self, traffic: Traffic) {
        self.traffic.send_replace(traffic);
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, server: SocketAddr, traffic: watch::Receiver<Traffic>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((client, _)) = accepted {
                    connections.spawn(connection(client, server, traffic.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Ends with its first end, or when it is cut; an error is an end like any other.
async fn connection(mut client: TcpStream, server: SocketAddr, mut traffic: watch::Receiver<Traffic>) {
    let now = *traffic.borrow_and_update();
    match now {
        Traffic::Cut => return,
        Traffic::Answered(text) => {
            let mut request = [0; PIECE_BYTES];
            if let Ok(1..) = client.read(&mut request).await {
                drop(client.write_all(text.as_bytes()).await);
            }
            return;
        }
        Traffic::Open | Traffic::Silent | Traffic::Slow(_) => {}
    }
    let Ok(server) = TcpStream::connect(server).await else { return };
    // What is held up is not to wait for anything else.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let there = pass(from_client, to_server, traffic.clone());
    let back = pass(from_server, to_client, traffic.clone());
    tokio::select! {
        _ = async { tokio::join!(there, back) } => {}
        _ = traffic.wait_for(|now| now.ends()) => {}
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut traffic: watch::Receiver<Traffic>,
) -> Option<()> {
    let mut piece = [0; PIECE_BYTES];
    loop {
        let count = from.read(&mut piece).await.ok()?;
        let now = *traffic.wait_for(|now| *now != Traffic::Silent).await.ok()?;
        if let Traffic::Slow(delay) = now {
            sleep(delay).await;
        }
        if count == 0 {
            return to.shutdown().await.ok();
        }
        to.write_all(&piece[..count]).await.ok()?;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    /// Far longer than anything takes here.
    const PATIENCE: Duration = Duration::from_secs(20);

    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("binds");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    drop(tokio::io::copy(&mut from, &mut to).await);
                });
            }
        });
        address
    }

    async fn said(stream: &mut TcpStream, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        let read = timeout(PATIENCE, stream.read_exact(&mut bytes)).await.expect("in time");
        read.expect("reads");
        bytes
    }

    #[tokio::test]
    async fn what_is_sent_arrives_late_or_not_at_all() {
        let way = Way::to(echo().await).await.expect("a way");
        let mut stream = TcpStream::connect(way.address()).await.expect("connects");
        stream.write_all(b"one").await.expect("sends");
        assert_eq!(said(&mut stream, 3).await, b"one");
        way.set(Traffic::Silent);
        stream.write_all(b"two").await.expect("sends");
        let mut byte = [0];
        let heard = timeout(Duration::from_millis(50), stream.peek(&mut byte)).await;
        assert!(heard.is_err(), "it is silent");
        way.set(Traffic::Slow(Duration::from_millis(1)));
        assert_eq!(said(&mut stream, 3).await, b"two");
        way.set(Traffic::Cut);
        assert!(matches!(timeout(PATIENCE, stream.read(&mut byte)).await, Ok(Ok(0) | Err(_))));
        way.set(Traffic::Answered("no"));
        let mut stream = TcpStream::connect(way.address()).await.expect("connects");
        stream.write_all(b"three").await.expect("sends");
        assert_eq!(said(&mut stream, 2).await, b"no");
        way.set(Traffic::Open);
        let mut stream = TcpStream::connect(way.address()).await.expect("connects");
        stream.write_all(b"four").await.expect("sends");
        assert_eq!(said(&mut stream, 4).await, b"four");
    }
}
