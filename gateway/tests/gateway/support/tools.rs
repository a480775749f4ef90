//! Other people's programs, and a video for them to play.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::SystemTime;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the crate is in a workspace")
}

/// An authority of the test's own, and what it signed for 127.0.0.1: certificate and key.
pub(crate) fn certificates(folder: &Path) -> [PathBuf; 3] {
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        fs::write(&path, text).expect("room");
        path
    };
    let mut params = CertificateParams::new([]).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let authority = write("authority.pem", params.self_signed(&key).expect("an authority").pem());
    let authority_of = Issuer::new(params, key);
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("an address");
    let certificate = params.signed_by(&key, &authority_of).expect("signed");
    [authority, write("server.pem", certificate.pem()), write("server.key", key.serialize_pem())]
}

/// Runs a program to its end. One that is not there fails the test: what was not checked is not known to work.
#[track_caller]
pub(crate) fn run<A: AsRef<OsStr>>(program: &str, arguments: &[A]) -> Output {
    run_in(&root(), program, arguments)
}

/// The same in a folder where it may leave things.
pub(crate) fn run_in<A: AsRef<OsStr>>(folder: &Path, program: &str, arguments: &[A]) -> Output {
    let output = Command::new(program).args(arguments).current_dir(folder).stdin(Stdio::null()).output();
    match output {
        Ok(output) => output,
        Err(error) => panic!("cannot run {program} ({error}); run scripts/setup test"),
    }
}

/// What a program that succeeds writes to stdout.
#[track_caller]
pub(crate) fn stdout_of<A: AsRef<OsStr>>(program: &str, arguments: &[A]) -> String {
    let Output { status, stdout, stderr } = run(program, arguments);
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{program} ended with {status}:\n{stdout}{stderr}");
    stdout.into_owned()
}

/// A minute of video, some 45 MB. It is made once and kept for later runs, until its recipe changes.
pub(crate) fn sample_video() -> &'static Path {
    static SAMPLE: OnceLock<PathBuf> = OnceLock::new();
    SAMPLE.get_or_init(|| {
        let sample = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sample.mp4");
        let recipe = root().join("scripts/sample-video");
        if written(&sample).is_none_or(|made| Some(made) < written(&recipe)) {
            let recipe = recipe.to_str().expect("a plain path");
            stdout_of(recipe, &[sample.as_os_str(), OsStr::new("60")]);
        }
        sample
    })
}

/// Puts the video into a folder: a copy, since another link to the same file would change when the file was
/// last changed, and so its version, under a test that reads it.
pub(crate) fn place_sample(folder: &Path) {
    fs::copy(sample_video(), folder.join("sample.mp4")).expect("room for a video");
}

fn written(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}
