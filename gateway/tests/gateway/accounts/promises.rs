//! What people are promised.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use seekway_catalog::Error;
use serde_json::{Value, json};

use super::desk::{ADDRESS, Asking, Desk, PASSWORD, cookie, log_in, parsed, sign_up, somebody};
use crate::support::tools::stdout_of;
use crate::support::{Stand, path_text, until};
use crate::tls::Pair;

pub(crate) async fn people_sign_up_and_log_in_and_out(desk: &Desk) {
    let stand = desk.gateway(&[]);
    assert_eq!(Asking::of(&stand).get("/api/auth/me").await.status, 401);
    let signed_up = sign_up(&stand, " Ann@Example.ORG ", PASSWORD).await;
    assert_eq!((signed_up.status, signed_up.has("set-cookie")), (202, false), "{signed_up:?}");
    let logged_in = log_in(&stand, ADDRESS, PASSWORD).await;
    assert_eq!(logged_in.header("cache-control"), "no-store");
    let session = cookie(&logged_in);
    let me = Asking::of(&stand).with("Cookie", &session).get("/api/auth/me").await;
    let told = parsed(&me);
    let shown = parsed(&logged_in);
    let same = shown.as_object().expect("an object").iter().all(|(name, value)| told[name] == *value);
    assert!(same, "{told} {shown}");
    assert_eq!(
        (&told["address"], &told["name"], &told["role"]),
        (&json!(ADDRESS), &json!("Ann"), &json!("creator"))
    );

    let wrong = log_in(&stand, ADDRESS, "correct horse batterz").await;
    assert_eq!((wrong.status, wrong.has("set-cookie")), (401, false), "{wrong:?}");
    assert_eq!(wrong.header("www-authenticate"), "Bearer realm=\"seekway\"");
    wrong.problem();

    let out = Asking::of(&stand).with("Cookie", &session).send("POST", "/api/auth/log-out", None, "").await;
    assert_eq!(out.status, 204, "{out:?}");
    assert!(out.header("set-cookie").starts_with("seekway-session=; Max-Age=0;"), "{out:?}");
    assert_eq!(Asking::of(&stand).with("Cookie", &session).get("/api/auth/me").await.status, 401);
}

pub(crate) async fn passwords_are_kept_as_argon2id(desk: &Desk) {
    let stand = desk.gateway(&[]);
    somebody(&stand, ADDRESS).await;
    somebody(&stand, "bob@example.org").await;
    let catalog = desk.catalog().await;
    let hash = async |address| catalog.accounts().by_address(address).await.expect("known").password_hash;
    let (ann, bob) = (hash(ADDRESS).await, hash("bob@example.org").await);
    assert!(ann.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{ann}");
    assert_ne!(ann, bob, "the same password, and another salt");
    let short = sign_up(&stand, "eve@example.org", "too short").await;
    assert_eq!(
        (short.status, &short.problem()["detail"]),
        (400, &json!("A password has 10 characters or more."))
    );
}

pub(crate) async fn sessions_are_opaque_and_end(desk: &Desk) {
    let stand = desk.gateway(&[("SEEKWAY_SESSION_LIFETIME", "2h")]);
    let logged_in = {
        sign_up(&stand, ADDRESS, PASSWORD).await;
        log_in(&stand, ADDRESS, PASSWORD).await
    };
    let set = logged_in.header("set-cookie");
    assert!(set.ends_with("; Max-Age=7200; Path=/; HttpOnly; SameSite=Lax"), "{set}");
    let first = cookie(&logged_in);
    let token = first.strip_prefix("seekway-session=").expect("its name");
    assert_eq!(token.len(), 43, "256 bits");
    // What the database has is of no use to whoever reads it.
    let catalog = desk.catalog().await;
    let kept = ring::digest::digest(&ring::digest::SHA256, token.as_bytes());
    assert!(catalog.sessions().find(kept.as_ref()).await.is_ok());
    assert!(matches!(catalog.sessions().find(token.as_bytes()).await, Err(Error::NotFound)));

    // Another replica knows it, and can end it.
    let other = desk.gateway(&[]);
    let second = cookie(&log_in(&other, ADDRESS, PASSWORD).await);
    let is_in = async |stand, session: &str| {
        Asking::of(stand).with("Cookie", session).get("/api/auth/me").await.status == 200
    };
    assert!(is_in(&other, &first).await && is_in(&stand, &second).await);
    let target = "/api/auth/log-out-everywhere";
    let out = Asking::of(&other).with("Cookie", &second).send("POST", target, None, "").await;
    assert_eq!(out.status, 204, "{out:?}");
    assert!(!is_in(&other, &first).await && !is_in(&other, &second).await, "at once here");
    for session in [&first, &second] {
        until("the other replica asks again", async || (!is_in(&stand, session).await).then_some(())).await;
    }
}

pub(crate) async fn a_new_password_ends_all_sessions(desk: &Desk) {
    let stand = desk.gateway(&[]);
    let sessions = [somebody(&stand, ADDRESS).await, cookie(&log_in(&stand, ADDRESS, PASSWORD).await)];
    let change = async |password: &str, new: &str| {
        let body = json!({ "password": password, "new_password": new });
        Asking::of(&stand).with("Cookie", &sessions[0]).post("/api/auth/password", &body).await.status
    };
    assert_eq!(change("a wrong one!", "another password").await, 401);
    assert_eq!(change(PASSWORD, "short").await, 400);
    assert_eq!(log_in(&stand, ADDRESS, PASSWORD).await.status, 200);
    assert_eq!(change(PASSWORD, "another password").await, 204);
    for session in &sessions {
        assert_eq!(Asking::of(&stand).with("Cookie", session).get("/api/auth/me").await.status, 401);
    }
    assert_eq!(log_in(&stand, ADDRESS, PASSWORD).await.status, 401);
    assert_eq!(log_in(&stand, ADDRESS, "another password").await.status, 200);
}

pub(crate) async fn cookies_are_secure_over_tls(desk: &Desk) {
    let stand = desk.gateway(&[("SEEKWAY_TRUSTED_PROXIES", "127.0.0.1")]);
    sign_up(&stand, ADDRESS, PASSWORD).await;
    let body = json!({ "address": ADDRESS, "password": PASSWORD });
    for (proxy, said) in [
        ("X-Forwarded-Proto", "https"),
        ("Forwarded", "for=192.0.2.1;proto=https"),
        ("Forwarded", "for=192.0.2.7;proto=http, for=192.0.2.1;Proto=\"HTTPS\""),
    ] {
        let answer = Asking::of(&stand).with(proxy, said).post("/api/auth/log-in", &body).await;
        let session = cookie(&answer);
        assert!(session.starts_with("__Host-seekway-session="), "{proxy}: {said}: {answer:?}");
        assert!(answer.header("set-cookie").ends_with("; SameSite=Lax; Secure"), "{answer:?}");
        let me = async |cookie: &str| {
            let asking = Asking::of(&stand).with(proxy, said).with("Cookie", cookie);
            asking.get("/api/auth/me").await.status
        };
        assert_eq!(me(&session).await, 200);
        // Anybody in the way may have set the one without the prefix.
        assert_eq!(me(session.trim_start_matches("__Host-")).await, 401);
    }
    for (proxy, said) in [("X-Forwarded-Proto", "https, http"), ("Forwarded", "proto=https, for=192.0.2.1")] {
        let answer = Asking::of(&stand).with(proxy, said).post("/api/auth/log-in", &body).await;
        assert!(!answer.header("set-cookie").contains("Secure"), "{proxy}: {said}: {answer:?}");
    }
    // The listener itself.
    let pair = Pair::new();
    let (certificate, key) = (pair.certificate(), pair.key());
    let tls = [
        ("SEEKWAY_TLS_LISTEN", "127.0.0.1:0"),
        ("SEEKWAY_TLS_CERTIFICATE", path_text(&certificate)),
        ("SEEKWAY_TLS_KEY", path_text(&key)),
    ];
    let encrypted = desk.gateway(&tls);
    let url = format!("https://{}/api/auth/log-in", encrypted.tls_address());
    let json = "Content-Type: application/json";
    for version in ["--http1.1", "--http2"] {
        let arguments = ["-sik", version, "-H", json, "-d", &body.to_string(), &url];
        let answer = stdout_of("curl", &arguments).to_ascii_lowercase();
        assert!(
            answer.contains("set-cookie: __host-seekway-session=") && answer.contains("; secure"),
            "{answer}"
        );
    }
    // Nobody else is believed.
    let strangers = desk.gateway(&[]);
    let answer =
        Asking::of(&strangers).with("X-Forwarded-Proto", "https").post("/api/auth/log-in", &body).await;
    assert!(!answer.header("set-cookie").contains("Secure"), "{answer:?}");
}

pub(crate) async fn errors_do_not_tell_whether_an_address_exists(desk: &Desk) {
    let stand = desk.gateway(&[]);
    let new = sign_up(&stand, ADDRESS, PASSWORD).await;
    let known = sign_up(&stand, ADDRESS, "another password").await;
    assert_eq!((new.status, &new.body), (known.status, &known.body));
    assert_eq!(log_in(&stand, ADDRESS, "another password").await.status, 401, "it is still Ann's");
    let detail =
        |problem: Value| (problem["status"].clone(), problem["detail"].clone(), problem["title"].clone());
    let wrong = log_in(&stand, ADDRESS, "a wrong password").await;
    let unknown = log_in(&stand, "nobody@example.org", "a wrong password").await;
    assert_eq!(detail(wrong.problem()), detail(unknown.problem()));
    let names = |answer: &crate::support::wire::Answer| {
        answer.headers.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&wrong), names(&unknown));
}

pub(crate) async fn log_in_is_limited_on_all_replicas_together(desk: &Desk) {
    let env = [("SEEKWAY_LOG_IN_ATTEMPTS", "3"), ("SEEKWAY_LOG_IN_WINDOW", "1h")];
    let replicas = [desk.gateway(&env), desk.gateway(&env)];
    sign_up(&replicas[0], ADDRESS, PASSWORD).await;
    // A right one forgets those before it.
    for (nth, password) in
        ["a wrong one!", PASSWORD, "a wrong one!", "a wrong one!", "a wrong one!"].iter().enumerate()
    {
        let expected = if *password == PASSWORD { 200 } else { 401 };
        assert_eq!(log_in(&replicas[nth % 2], ADDRESS, password).await.status, expected, "{nth}");
    }
    for replica in &replicas {
        let refused = log_in(replica, ADDRESS, PASSWORD).await;
        assert_eq!(refused.status, 429, "also with the right password: {refused:?}");
        let wait: u64 = refused.header("retry-after").parse().expect("seconds");
        assert!((3000..=3600).contains(&wait), "{wait}");
        refused.problem();
    }
    assert_eq!(log_in(&replicas[1], "bob@example.org", PASSWORD).await.status, 401, "another address");
    // Somebody else's guesses do not lock her out.
    let body = json!({ "address": ADDRESS, "password": PASSWORD });
    let from = [127, 0, 0, 2];
    for _ in 0..15 {
        assert_eq!(log_in(&replicas[0], ADDRESS, "a wrong one!").await.status, 429);
    }
    assert_eq!(Asking::of(&replicas[0]).from(from).post("/api/auth/log-in", &body).await.status, 200);
    // One client at many addresses is one client: it has made 23 attempts, and may make 30.
    for nth in 0..7 {
        let address = format!("guess-{nth}@example.org");
        assert_eq!(log_in(&replicas[nth % 2], &address, PASSWORD).await.status, 401, "{nth}");
    }
    assert_eq!(log_in(&replicas[0], "guess@example.org", PASSWORD).await.status, 429);
}

pub(crate) async fn pages_of_other_sites_cannot_write(desk: &Desk) {
    let stand = desk.gateway(&[]);
    let session = somebody(&stand, ADDRESS).await;
    let body = json!({ "address": ADDRESS, "password": PASSWORD });
    for (name, value) in [
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
        ("Origin", "http://evil.example"),
        ("Origin", "null"),
    ] {
        let asking = || Asking::of(&stand).with("Cookie", &session).with(name, value);
        for target in [
            "/api/auth/log-in",
            "/api/auth/sign-up",
            "/api/auth/log-out",
            "/api/auth/tokens",
            "/api/auth/keys",
        ] {
            let refused = asking().post(target, &body).await;
            assert_eq!(refused.status, 403, "{target}: {name}: {value}: {refused:?}");
            assert_eq!(refused.problem()["detail"], "A page of another site has sent this request.");
        }
        assert_eq!(asking().get("/api/auth/me").await.status, 200, "who only reads tells no other page");
    }
    // A form cannot send JSON, and neither can a script that does not ask first.
    let form =
        Asking::of(&stand).send("POST", "/api/auth/log-in", Some("text/plain"), &body.to_string()).await;
    assert_eq!(form.status, 415, "{form:?}");
    let ours = Asking::of(&stand).with("Cookie", &session).with("Origin", "http://gateway.test");
    assert_eq!(ours.post("/api/auth/tokens", &json!({})).await.status, 201);
}

pub(crate) async fn bodies_that_make_no_sense_are_refused(desk: &Desk) {
    let stand = desk.gateway(&[]);
    let send = async |body: &str| {
        let answer =
            Asking::of(&stand).send("POST", "/api/auth/sign-up", Some("application/json"), body).await;
        answer.problem();
        answer.status
    };
    let with = |address: &str, name: &str, password: &str| {
        json!({ "address": address, "name": name, "password": password }).to_string()
    };
    assert_eq!(send("").await, 400);
    assert_eq!(send("{").await, 400);
    assert_eq!(send(r#"{"address":"a@b"}"#).await, 400);
    assert_eq!(send(r#"{"address":"a@b","password":"long enough","role":"admin"}"#).await, 400);
    assert_eq!(send(&with("no address", "", PASSWORD)).await, 400);
    assert_eq!(send(&with("@example.org", "", PASSWORD)).await, 400);
    assert_eq!(send(&with(&format!("{}@example.org", "a".repeat(300)), "", PASSWORD)).await, 400);
    assert_eq!(send(&with(ADDRESS, "two\nlines", PASSWORD)).await, 400);
    assert_eq!(send(&with(ADDRESS, "", &"p".repeat(1025))).await, 400);
    assert_eq!(send(&with(ADDRESS, "", &"p".repeat(20_000))).await, 413);
    let wrong_method = Asking::of(&stand).get("/api/auth/log-in").await;
    assert_eq!((wrong_method.status, wrong_method.header("allow")), (405, "POST"));
    assert_eq!(Asking::of(&stand).get("/api/auth/nothing").await.status, 404);
    assert!(!desk.catalog().await.accounts().exist().await.expect("asks"));
}

pub(crate) async fn on_this_machine_playing_needs_no_account(desk: &Desk) {
    // As it comes: it listens on loopback.
    let stand = desk.gateway(&[("SEEKWAY_ACCOUNTS", "auto"), ("SEEKWAY_SIGN_UP", "auto")]);
    stand.put_pattern("film.mp4", 1000, 1);
    assert_eq!(Asking::of(&stand).get("/media/film.mp4").await.status, 200);
    let body = json!({ "address": ADDRESS, "password": PASSWORD });
    let here = || Asking::of(&stand).at("localhost:8080").with("Sec-Fetch-Site", "same-origin");
    assert_eq!(here().post("/api/auth/sign-up", &body).await.status, 202);
    let session = cookie(&here().post("/api/auth/log-in", &body).await);
    let me = Asking::of(&stand).at("localhost:8080").with("Cookie", &session).get("/api/auth/me").await;
    assert_eq!(parsed(&me)["name"], "ann", "of the address, where nothing else is said");
    // Another name leads here, too, or a proxy: then it is not this machine alone.
    for asking in
        [Asking::of(&stand), here().with("Via", "1.1 proxy"), here().with("X-Forwarded-For", "192.0.2.1")]
    {
        let refused = asking.post("/api/auth/log-in", &body).await;
        assert_eq!(refused.status, 404, "{refused:?}");
    }
}

pub(crate) async fn signing_up_can_be_switched_off(desk: &Desk) {
    let stand = desk.gateway(&[("SEEKWAY_SIGN_UP", "auto"), ("SEEKWAY_SIGN_UP_ROLE", "viewer")]);
    let refused = sign_up(&stand, ADDRESS, PASSWORD).await;
    assert_eq!(refused.status, 403, "not from everywhere: {refused:?}");
    let body = json!({ "address": ADDRESS, "password": PASSWORD });
    assert_eq!(Asking::of(&stand).at("127.0.0.1").post("/api/auth/sign-up", &body).await.status, 202);
    assert_eq!(parsed(&log_in(&stand, ADDRESS, PASSWORD).await)["role"], "viewer");
    let off = Stand::local(&[]);
    assert_eq!(log_in(&off, ADDRESS, PASSWORD).await.status, 404, "accounts can be off altogether");
}

/// Runs `gateway admin create` with a password on its standard input.
fn create_admin(url: &str, arguments: &[&str], password: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_gateway"))
        .args(["admin", "create"])
        .args(arguments)
        .env_clear()
        .env("DATABASE_URL", url)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the gateway runs");
    let mut stdin = child.stdin.take().expect("piped");
    // It may have refused already.
    drop(writeln!(stdin, "{password}"));
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

pub(crate) async fn the_first_admin_is_made_by_a_command(desk: &Desk) {
    let refused = |url: &str, arguments: &[&str], password: &str, code: i32, named: &str| {
        let Output { status, stdout, stderr } = create_admin(url, arguments, password);
        let stderr = String::from_utf8(stderr).expect("text");
        assert_eq!(status.code(), Some(code), "{stderr}");
        assert!(stdout.is_empty() && stderr.contains(named), "{named}: {stderr}");
    };
    let address = ["--address", "Root@example.org"];
    refused(&desk.url, &address, "too short", 64, "10 characters");
    refused(&desk.url, &["--address", "root"], PASSWORD, 64, "--address");
    refused(&desk.url, &[], PASSWORD, 64, "--address");
    refused("mysql://db/x", &address, PASSWORD, 64, "sqlite:./data/seekway.db");
    refused(
        "sqlite:/dev/null/x.db",
        &address,
        PASSWORD,
        69,
        "--database-url (DATABASE_URL) is \"sqlite:/dev/null/x.db\"",
    );
    // There need be no gateway, and no schema.
    let made = create_admin(&desk.url, &address, PASSWORD);
    let told = String::from_utf8_lossy(&made.stdout);
    assert!(made.status.success() && told == "root@example.org is an admin\n", "{made:?}");
    refused(&desk.url, &address, PASSWORD, 64, "already");
    let stand = desk.gateway(&[]);
    let me = parsed(&log_in(&stand, "root@example.org", PASSWORD).await);
    assert_eq!((&me["role"], &me["name"]), (&json!("admin"), &json!("Root")));
}
