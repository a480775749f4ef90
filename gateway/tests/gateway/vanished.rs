//! Clients that vanish without a word, as behind a pulled cable: real ones, in a network namespace of their own. It
//! takes root (or `CAP_SYS_ADMIN` and `CAP_NET_ADMIN`) to make one; without, the test fails and says so.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use seekway_loadtests::origin::Shape;

use crate::metrics::{Page, page_with};
use crate::support::tools::stdout_of;
use crate::support::{Stand, until};

/// A network with one other machine in it, until dropped.
struct Cable {
    namespace: String,
    interface: String,
    /// Ours; the other machine's is one more.
    address: String,
}

/// A program on the other machine.
struct Remote(Child);

// === impl Cable ===

impl Cable {
    fn new() -> Self {
        let id = std::process::id();
        let (namespace, ours, theirs) = (format!("seekway-{id}"), format!("sw{id}a"), format!("sw{id}b"));
        let address = |last| format!("10.213.{}.{last}", id % 256);
        let cable = Self { namespace, interface: theirs, address: address(1) };
        let (namespace, theirs) = (cable.namespace.as_str(), cable.interface.as_str());
        ip(&["netns", "add", namespace]);
        ip(&["link", "add", &ours, "type", "veth", "peer", "name", theirs, "netns", namespace]);
        ip(&["address", "add", &format!("{}/30", address(1)), "dev", &ours]);
        ip(&["-n", namespace, "address", "add", &format!("{}/30", address(2)), "dev", theirs]);
        ip(&["link", "set", &ours, "up"]);
        ip(&["-n", namespace, "link", "set", theirs, "up"]);
        cable
    }

    /// Connects from the other machine, sends `request`, and goes on with `then`, which has the connection as 3.
    fn client(&self, port: u16, request: &str, then: &str) -> Remote {
        let script = format!(
            "exec 3<>/dev/tcp/{}/{port}; printf '{request} HTTP/1.1\\r\\nHost: a.test\\r\\n\\r\\n' >&3; {then}",
            self.address
        );
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace, "bash", "-c", &script]).stdout(Stdio::null());
        Remote(command.spawn().expect("ip is there"))
    }

    fn pull(&self) {
        ip(&["-n", &self.namespace, "link", "set", &self.interface, "down"]);
    }
}

fn ip(arguments: &[&str]) {
    stdout_of("ip", arguments);
}

impl Drop for Cable {
    fn drop(&mut self) {
        // It takes both interfaces along. When it fails, there was a failure before.
        let _ = Command::new("ip").args(["netns", "delete", &self.namespace]).status();
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn clients_behind_a_pulled_cable_are_noticed_and_leave_nothing_behind() {
    let cable = Cable::new();
    let shape = Shape { bytes_per_second_per_connection: Some(20_000_000), ..Shape::default() };
    let listen = format!("{}:0", cable.address);
    let stand = Stand::s3_shaped(
        shape,
        &[("SEEKWAY_LISTEN", &listen), ("SEEKWAY_WRITE_STALL_TIMEOUT", "1s"), ("SEEKWAY_IDLE_TIMEOUT", "2s")],
    );
    stand.put_pattern("film.mp4", 4_000_000_000, 1);
    let port = stand.address().port();
    let _downloading = cable.client(port, "GET /media/film.mp4", "exec cat <&3");
    let sent = "seekway_response_body_bytes_total{protocol=\"h1\"}";
    until("the download is under way", async || {
        (Page::of(&stand).await.get(sent) > 10_000_000.0).then_some(())
    })
    .await;
    // It reads nothing at all.
    let _paused = cable.client(port, "GET /media/film.mp4", "exec sleep 60");
    let _idle = cable.client(port, "HEAD /media/film.mp4", "exec sleep 60");
    let answered = |kind| format!("seekway_requests_total{{kind=\"{kind}\",status=\"200\",protocol=\"h1\"}}");
    page_with(&stand, &answered("full"), 2.0).await;
    page_with(&stand, &answered("head"), 1.0).await;
    cable.pull();
    let ended =
        |reason| format!("seekway_connections_ended_total{{listener=\"public\",reason=\"{reason}\"}}");
    page_with(&stand, &ended("client_stalled"), 2.0).await;
    page_with(&stand, &ended("idle"), 1.0).await;
    page_with(&stand, "seekway_connections_open{listener=\"public\"}", 0.0).await;
    stand.until_quiet().await;
    until("the kernel has forgotten them, too", async || {
        let sockets = stdout_of("ss", &["-Htn", "src", &cable.address]);
        tokio::time::sleep(Duration::from_millis(100)).await;
        sockets.trim().is_empty().then_some(())
    })
    .await;
}
