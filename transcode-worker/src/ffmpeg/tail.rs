//! The end of what a program writes: read all the time, kept as far as somebody will look at it.

use tokio::io::AsyncReadExt as _;
use tokio::process::ChildStderr;
use tokio::task::JoinHandle;

/// Bytes that are kept.
const KEPT: usize = 16 * 1024;

/// The end of what a program writes, once it has closed its output.
pub(super) struct Tail {
    reader: JoinHandle<Vec<u8>>,
}

// === impl Tail ===

impl Tail {
    pub(super) fn of(mut stderr: ChildStderr) -> Self {
        let reader = tokio::spawn(async move {
            let mut kept = Vec::with_capacity(2 * KEPT);
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = stderr.read(&mut buffer).await {
                kept.extend_from_slice(&buffer[..read]);
                if kept.len() > 2 * KEPT {
                    kept.drain(..kept.len() - KEPT);
                }
            }
            kept
        });
        Self { reader }
    }

    /// All of it, after the program has ended; once.
    pub(super) async fn text(&mut self) -> String {
        let kept = (&mut self.reader).await.unwrap_or_default();
        let text = String::from_utf8_lossy(&kept[kept.len().saturating_sub(KEPT)..]).into_owned();
        // A database's text has no NUL.
        text.replace('\0', "")
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.reader.abort();
    }
}
