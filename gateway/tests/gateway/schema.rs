//! What schemathesis finds when it asks the running gateway whatever its own OpenAPI document allows, and what it does not.

use tempfile::TempDir;

use crate::support::tools::{root, run_in};
use crate::uploads::stand::Uploading;

/// Statuses that any request may have, whatever its path: the document tells those of each operation.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_schema_conformance,unsupported_method,allow_header_conformance";

#[tokio::test(flavor = "multi_thread")]
async fn the_api_is_what_its_document_says() {
    let program = root().join(".tools/schemathesis/bin/python");
    assert!(program.exists(), "{} is missing; run scripts/setup test", program.display());
    let program = program.to_str().expect("a plain path").to_owned();
    // What it uploads by itself belongs to nobody, and so to whoever asks from here.
    for up in Uploading::both(&[("SEEKWAY_UPLOADS", "auto"), ("SEEKWAY_ACCOUNTS", "on")]).await {
        let port = up.stand().address().port();
        let url = format!("http://localhost:{port}/api/openapi.json");
        let arguments = [
            "-m",
            "schemathesis.cli",
            "run",
            &url,
            "--checks",
            CHECKS,
            // It would wait for the end of what has none.
            "--exclude-path",
            "/api/videos/{id}/events",
            // That is tus' URL, too, where POST may stand for any method.
            "--exclude-path",
            "/api/uploads/{id}",
            // A 501 is right where there is no bucket, and no server's fault.
            "--exclude-path-regex",
            if up.is_s3 { "^/nothing$" } else { "^/api/uploads/direct" },
            "--phases",
            "examples,coverage,fuzzing",
            "--max-examples",
            "25",
            "--seed",
            "1",
            "--no-color",
        ];
        let arguments = arguments.map(str::to_owned);
        let program = program.clone();
        let ran = tokio::task::spawn_blocking(move || {
            let folder = TempDir::new().expect("a folder");
            run_in(folder.path(), &program, &arguments)
        });
        let output = ran.await.expect("no panic");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    }
}
