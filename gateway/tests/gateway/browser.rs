//! A real browser plays and seeks on the console page.

use crate::support::Stand;
use crate::support::tools::{place_sample, root, run};

#[tokio::test]
async fn a_browser_plays_and_seeks() {
    let stand = Stand::local(&[]);
    place_sample(&stand.media());
    let script = root().join("tests/browser/seek.mjs");
    let installed = root().join("tests/browser/node_modules/playwright-core").is_dir();
    assert!(installed, "playwright-core is not in tests/browser; run scripts/setup test");
    let url = format!("http://{}/", stand.address());
    let output = run("node", &[script.to_str().expect("a plain path"), &url]);
    println!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}", output.status);
    assert!(String::from_utf8_lossy(&output.stdout).contains("ok "), "it says what it checked");
}
