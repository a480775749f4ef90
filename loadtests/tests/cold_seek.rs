//! The measurement measures: run on the origin itself in the gateway's place, it finds no difference.

use std::{process::Command, time::Duration};

use seekway_loadtests::{
    Error,
    client::Client,
    cold_seek::{self, Scenario},
    gateway::{Gateway, Launch},
    origin::{Fault, Object, Origin, Shape},
};

fn small() -> Scenario {
    Scenario {
        object_bytes: 64 << 20,
        seeks: 24,
        connections: 2,
        sequential_bytes: 4 << 20,
        sequential_runs: 1,
        ..Scenario::default()
    }
}

#[tokio::test]
async fn an_origin_in_the_gateways_place_costs_exactly_its_own_bytes() {
    let shape = Shape {
        first_byte_latency: Duration::from_millis(2),
        bytes_per_second_per_connection: Some(40_000_000),
        ..Shape::default()
    };
    let origin = Origin::start(shape).unwrap();
    cold_seek::prepare(&origin, &small());
    let report = cold_seek::run(&origin, origin.address(), &small()).await.unwrap();
    assert!((report.origin_bytes_per_byte - 1.0).abs() < 1e-9, "{report}");
    assert!((report.origin_gets_per_seek - 1.0).abs() < 1e-9, "{report}");
    assert!((report.sequential.origin_gets_per_4mib - 1.0).abs() < 1e-9, "{report}");
    assert!(report.origin.p50_ms >= 2.0 && report.gateway.p50_ms >= 2.0, "{report}");
    // Nothing is gained by a gateway that is none.
    assert!(!report.all_met(), "{report}");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["aims"].as_array().unwrap().len(), 4);
    assert_eq!(json["aims"][2]["bound"], "at_least");
}

#[tokio::test]
async fn wrong_bytes_and_wrong_answers_end_the_run() {
    let origin = Origin::start(Shape::default()).unwrap();
    let liar = Origin::start(Shape::default()).unwrap();
    cold_seek::prepare(&origin, &small());
    liar.put_pattern("media", "cold-seek.mp4", small().object_bytes, 99);
    let outcome = cold_seek::run(&origin, liar.address(), &small()).await;
    assert!(matches!(outcome, Err(Error::WrongByte { .. })), "{outcome:?}");

    cold_seek::prepare(&liar, &small());
    liar.fault(Fault::IgnoreRange.skip(10).times(1));
    let outcome = cold_seek::run(&origin, liar.address(), &small()).await;
    assert!(matches!(outcome, Err(Error::UnexpectedAnswer { .. })), "{outcome:?}");
}

#[tokio::test]
async fn a_gateway_that_cannot_start_is_explained() {
    let launch = |binary: &str| Launch {
        binary: binary.into(),
        endpoint: String::new(),
        bucket: String::new(),
        environment: vec![],
    };
    let missing = Gateway::start(&launch("/nowhere/gateway")).await.unwrap_err();
    assert!(missing.to_string().contains("cargo build --release"), "{missing}");
    let ended = Gateway::start(&launch("/bin/false")).await.unwrap_err();
    assert!(matches!(ended, Error::ChildEnded { .. }), "{ended}");
}

#[tokio::test]
async fn the_command_serves_the_origin_it_promises() {
    let command = env!("CARGO_BIN_EXE_loadtest");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let arguments = ["origin", "--size", "1MiB", "--first-byte", "1ms", "--listen", &free.to_string()];
    let child = Command::new(command).args(arguments).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut client = None;
    for _ in 0..500 {
        client = Client::connect(free).await.ok();
        if client.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (answer, body) = client.unwrap().get_range("/media/film-0.mp4", 1000..2000).await.unwrap();
    assert_eq!(answer.header("content-range"), "bytes 1000-1999/1048576");
    assert_eq!(body, Object::pattern(1 << 20, 0).read(1000, 1000));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let output = String::from_utf8(output.stdout).unwrap();
    assert!(output.contains("S3_ENDPOINT=http://127.0.0.1:"), "{output}");
    assert!(output.contains("\"gets\": 1"), "{output}");
}
