use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderValue;
use seekway_storage::origin::Hedging;

use seekway_settings::values::Fallback;

use super::*;
use crate::delivery::cors::AllowOrigin;

fn read(args: &[&str], env: &[(&str, &str)]) -> Result<Config, Stop> {
    let env: HashMap<_, _> = env.iter().copied().collect();
    let args = ["gateway"].iter().chain(args);
    Config::from_args(args, |name| env.get(name).map(OsString::from))
}

fn config(args: &[&str], env: &[(&str, &str)]) -> Config {
    read(args, env).unwrap_or_else(|stop| panic!("{stop}"))
}

/// The one line for a wrong setting.
#[track_caller]
fn line(args: &[&str], env: &[(&str, &str)]) -> String {
    match read(args, env) {
        Err(stop @ Stop::Wrong { .. }) => {
            let line = stop.to_string();
            assert!(!line.contains('\n') && line.starts_with("gateway: "), "{line:?}");
            assert_eq!(format!("{:?}", stop.exit()), format!("{:?}", std::process::ExitCode::from(64)));
            line
        }
        other => panic!("{args:?} {env:?}: {other:?}"),
    }
}

/// A wrong value is refused alike from the flag and the variable, with both names, the value and what is
/// allowed.
#[track_caller]
fn wrong(flag: &str, env: &str, value: &str, allowed: &str) {
    let expected = format!("gateway: {flag} ({env}) is {value:?}: {allowed}");
    assert_eq!(line(&[&format!("{flag}={value}")], &[]), expected);
    if !value.is_empty() {
        assert_eq!(line(&[], &[(env, value)]), expected);
    }
}

#[test]
fn defaults_are_those_of_the_design() {
    let config = config(&[], &[]);
    assert_eq!(config.listeners.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.listeners.admin_listen.to_string(), "127.0.0.1:8081");
    assert_eq!(config.access_log, AccessLog::Errors);
    assert_eq!(config.storage_backend(), StorageBackend::Local);
    assert_eq!(config.storage.local_storage_dir, PathBuf::from("./data/media"));
    assert_eq!(
        (config.listeners.max_connections, config.listeners.header_bytes_max(), config.listeners.headers_max),
        (16_384, 16 << 10, 64)
    );
    assert_eq!(config.delivery.cors_allow_origin, AllowOrigin::Any);
    assert!(
        config.delivery.cache_control().is_empty()
            && config.listing() == Listing::ThisMachine
            && !config.storage.s3_force_path_style
    );
    assert!(config.listeners.threads() >= 1);
    let secs = |duration: humantime::Duration| Duration::from(duration).as_secs();
    assert_eq!(secs(config.listeners.header_timeout), 10);
    assert_eq!(secs(config.listeners.idle_timeout), 60);
    assert_eq!(secs(config.listeners.write_stall_timeout), 60);
    assert_eq!((secs(config.listeners.drain_delay), secs(config.listeners.drain_timeout)), (5, 20));
    assert!(config.listeners.tls().is_none());
    assert_eq!(
        (
            secs(config.storage.s3_connect_timeout),
            secs(config.storage.s3_read_timeout),
            config.storage.s3_attempts
        ),
        (2, 5, 3)
    );
    let origin = config.storage.origin();
    assert_eq!((origin.answer_timeout, origin.requests_max), (Duration::from_secs(10), 128));
    assert_eq!(origin.hedging, Some(Hedging { quantile: 0.95, budget: 0.05 }));
    assert!(config.storage.s3_fallback.is_empty());
    let cache = config.cache();
    assert_eq!((cache.memory_bytes, cache.budget_bytes), (512 << 20, 256 << 20));
    assert_eq!(cache.segmentation.segment_bytes(), 64 << 10);
    assert_eq!(cache.metadata.ttl, Duration::from_secs(10));
    assert_eq!(cache.metadata.stale_while_revalidate, Duration::from_secs(30));
    assert_eq!(cache.metadata.stale_if_error, Duration::from_hours(1));
    assert_eq!(cache.metadata.negative_ttl, Duration::from_secs(2));
}

#[test]
fn a_wrong_redis_is_told_what_one_looks_like_and_keeps_its_password_to_itself() {
    for (value, shown) in [
        ("localhost:6379", "localhost:6379"),
        ("redis-sentinel://user:secret@host", "redis-sentinel://…@host"),
    ] {
        let line = line(&[], &[("REDIS_URL", value)]);
        let begins =
            format!("gateway: --redis-url (REDIS_URL) is {shown:?}: redis://host:6379, redis-sentinel://");
        assert!(line.starts_with(&begins) && !line.contains("secret@"), "{line}");
    }
    let redis = config(&[], &[("REDIS_URL", "redis://host"), ("S3_BUCKET", "films")]).cache().redis;
    let redis = redis.expect("it is set");
    assert_eq!((redis.ttl, redis.read_limit), (Duration::from_hours(1), Duration::from_millis(2)));
    assert_eq!(redis.namespace, "aws/films");
}

#[test]
fn a_flag_wins_over_its_variable_and_an_empty_variable_is_unset() {
    let both = config(&["--threads", "3"], &[("SEEKWAY_THREADS", "4")]);
    assert_eq!(both.listeners.threads(), 3);
    assert_eq!(config(&[], &[("SEEKWAY_THREADS", "4")]).listeners.threads(), 4);
    // Nor is a variable looked at that a flag stands in for.
    assert_eq!(config(&["--threads=3"], &[("SEEKWAY_THREADS", "many")]).listeners.threads(), 3);
    let empty = config(&[], &[("S3_BUCKET", ""), ("SEEKWAY_LISTEN", ""), ("CACHE_SEGMENT_BYTES", "")]);
    assert_eq!(empty.storage_backend(), StorageBackend::Local);
    assert_eq!(empty.cache().segmentation.segment_bytes(), 64 << 10);
    assert_eq!(config(&["--"], &[("SEEKWAY_THREADS", "4")]).listeners.threads(), 4);
}

#[test]
fn sizes_and_times_are_written_as_people_do() {
    for (text, bytes) in [("128KiB", 128 << 10), ("1MiB", 1 << 20), ("65536", 65536), ("4 KiB", 4096)] {
        assert_eq!(config(&[], &[("CACHE_SEGMENT_BYTES", text)]).cache().segmentation.segment_bytes(), bytes);
    }
    for (text, millis) in [("0s", 0), ("500ms", 500), ("1m 30s", 90_000), ("1h", 3_600_000)] {
        assert_eq!(
            config(&["--metadata-ttl", text], &[]).cache().metadata.ttl,
            Duration::from_millis(millis)
        );
    }
}

#[test]
fn a_bucket_means_s3_unless_said_otherwise() {
    assert_eq!(config(&[], &[("S3_BUCKET", "media")]).storage_backend(), StorageBackend::S3);
    let local = config(&["--storage-backend=local"], &[("S3_BUCKET", "media")]);
    assert_eq!(local.storage_backend(), StorageBackend::Local);
    for (args, style) in [(&["--s3-force-path-style"][..], true), (&["--s3-force-path-style=no"], false)] {
        assert_eq!(config(args, &[]).storage.s3_force_path_style, style);
    }
    assert!(config(&[], &[("S3_FORCE_PATH_STYLE", "1")]).storage.s3_force_path_style);
}

#[test]
fn listing_is_for_the_own_machine_unless_said_otherwise() {
    for (listen, listed) in
        [("127.0.0.2:80", true), ("[::1]:80", true), ("0.0.0.0:80", false), ("[::]:80", false)]
    {
        let auto = if listed { Listing::ThisMachine } else { Listing::Nobody };
        assert_eq!(config(&["--listen", listen], &[]).listing(), auto, "{listen}");
        assert_eq!(config(&["--listen", listen, "--listing=on"], &[]).listing(), Listing::Everybody);
        assert_eq!(config(&["--listen", listen], &[("SEEKWAY_LISTING", "off")]).listing(), Listing::Nobody);
    }
}

#[test]
fn cache_rules_are_repeated_or_separated() {
    let rule = |prefix: &str, value| (prefix.to_owned(), HeaderValue::from_static(value));
    let expected = [rule("live/", "no-cache"), rule("", "public, max-age=60")];
    let args = ["--cache-control", "live/=no-cache", "--cache-control", "=public, max-age=60"];
    assert_eq!(config(&args, &[]).delivery.cache_control(), expected);
    let env = [("SEEKWAY_CACHE_CONTROL", "live/=no-cache; =public, max-age=60")];
    assert_eq!(config(&[], &env).delivery.cache_control(), expected);
    // A flag replaces the variable's rules, it does not add to them.
    assert_eq!(
        config(&["--cache-control=a/=no-store"], &env).delivery.cache_control(),
        [rule("a/", "no-store")]
    );
}

#[test]
fn fallbacks_are_urls_in_order() {
    let urls = "s3://copy?region=eu-west-1,https://minio.example:9000/media,http://[::1]:9000/b/";
    let config = config(&[], &[("S3_BUCKET", "media"), ("S3_FALLBACK", urls)]);
    let fallback = |bucket: &str, endpoint: Option<&str>, region: Option<&str>| Fallback {
        bucket: bucket.to_owned(),
        endpoint: endpoint.map(str::to_owned),
        region: region.map(str::to_owned),
    };
    assert_eq!(
        config.storage.s3_fallback,
        [
            fallback("copy", None, Some("eu-west-1")),
            fallback("media", Some("https://minio.example:9000"), None),
            fallback("b", Some("http://[::1]:9000"), None),
        ]
    );
    assert_eq!(
        line(&["--s3-fallback=s3://copy"], &[]),
        "gateway: --s3-fallback (S3_FALLBACK) is \"s3://copy\": a fallback needs an --s3-bucket to fall back from"
    );
    let four = line(&["--s3-bucket=media", "--s3-fallback=s3://a,s3://b,s3://c,s3://d"], &[]);
    assert!(four.ends_with(": at most 3 fallbacks"), "{four}");
}

#[test]
fn wrong_values_are_named() {
    let segment = "a power of two from 4KiB to 16MiB";
    for value in ["100", "2KiB", "32MiB", "65KiB", "big", "-64KiB", "", "64XiB"] {
        wrong("--cache-segment-bytes", "CACHE_SEGMENT_BYTES", value, segment);
    }
    let address = "an IP address and a port, such as 127.0.0.1:8080, 0.0.0.0:80 or [::]:80";
    for value in ["8080", "localhost:8080", "127.0.0.1", ":80", "127.0.0.1:99999", "a\nb"] {
        wrong("--listen", "SEEKWAY_LISTEN", value, address);
    }
    wrong("--admin-listen", "SEEKWAY_ADMIN_LISTEN", "x", address);
    wrong("--access-log", "SEEKWAY_ACCESS_LOG", "some", "one of errors, all, off");
    wrong("--storage-backend", "STORAGE_BACKEND", "gcs", "one of local, s3");
    wrong("--listing", "SEEKWAY_LISTING", "maybe", "one of auto, on, off");
    wrong("--threads", "SEEKWAY_THREADS", "0", "a number from 1 to 1024");
    wrong("--max-connections", "SEEKWAY_MAX_CONNECTIONS", "-1", "a number from 1 to 1000000");
    wrong("--headers-max", "SEEKWAY_HEADERS_MAX", "5", "a number from 16 to 1024");
    wrong("--s3-attempts", "SEEKWAY_S3_ATTEMPTS", "11", "a number from 1 to 10");
    wrong("--s3-requests-max", "SEEKWAY_S3_REQUESTS_MAX", "0", "a number from 1 to 4096");
    wrong("--s3-hedge-percent", "SEEKWAY_S3_HEDGE_PERCENT", "5%", "a number from 1 to 50");
    for value in ["95", "p100", "p49", "p95.5", "never", ""] {
        wrong("--s3-hedge-after", "SEEKWAY_S3_HEDGE_AFTER", value, "p50 to p99, or off");
    }
    let fallback = "s3://BUCKET or https://HOST/BUCKET, with ?region=NAME where it has another one";
    for value in ["copy", "s3://a/b", "https://host", "http://h/a/b", "s3://a?region=", "s3://a?x=1"] {
        wrong("--s3-fallback", "S3_FALLBACK", value, fallback);
    }
    wrong("--s3-force-path-style", "S3_FORCE_PATH_STYLE", "perhaps", "true or false");
    wrong("--s3-bucket", "S3_BUCKET", "my bucket", "a name without spaces");
    let endpoint = "a URL of a server, such as http://localhost:9000, without a user or query";
    for value in ["localhost:9000", "ftp://a", "http://a/?b", "/path"] {
        wrong("--s3-endpoint", "S3_ENDPOINT", value, endpoint);
        wrong("--s3-public-endpoint", "S3_PUBLIC_ENDPOINT", value, endpoint);
    }
    let line = line(&["--s3-endpoint=http://u:p@a"], &[]);
    assert!(line.starts_with("gateway: --s3-endpoint (S3_ENDPOINT) is \"http://…@a\": a URL"), "{line}");
    let origins = "`*`, or origins separated by commas such as https://player.example,http://localhost:3000";
    wrong("--cors-allow-origin", "SEEKWAY_CORS_ALLOW_ORIGIN", "player.example", origins);
    let rule = "PREFIX=VALUE, such as live/=no-cache or =public, max-age=60";
    for value in ["no-cache", "live/=", "live/=\u{1}"] {
        wrong("--cache-control", "SEEKWAY_CACHE_CONTROL", value, rule);
    }
    let filter = "a level (error, warn, info, debug, trace) or a filter such as info,seekway_cache=debug";
    wrong("--log", "SEEKWAY_LOG", "a=b=c", filter);
}

#[test]
fn times_and_sizes_have_bounds() {
    let limit = "a time from 1ms to 365days, such as 500ms, 30s or 1h";
    for (flag, env) in [
        ("--header-timeout", "SEEKWAY_HEADER_TIMEOUT"),
        ("--idle-timeout", "SEEKWAY_IDLE_TIMEOUT"),
        ("--write-stall-timeout", "SEEKWAY_WRITE_STALL_TIMEOUT"),
        ("--drain-timeout", "SEEKWAY_DRAIN_TIMEOUT"),
        ("--s3-connect-timeout", "SEEKWAY_S3_CONNECT_TIMEOUT"),
        ("--s3-read-timeout", "SEEKWAY_S3_READ_TIMEOUT"),
        ("--s3-answer-timeout", "SEEKWAY_S3_ANSWER_TIMEOUT"),
    ] {
        for value in ["0s", "30", "soon", "1000years"] {
            wrong(flag, env, value, limit);
        }
    }
    for value in ["0s", "1001ms", "2", "1h"] {
        let allowed = "a time from 1ms to 1s, such as 2ms or 10ms";
        wrong("--cache-redis-read-timeout", "CACHE_REDIS_READ_TIMEOUT", value, allowed);
    }
    let period = "a time from 0s to 365days, such as 500ms, 30s or 1h";
    for (flag, env) in [
        ("--metadata-ttl", "METADATA_TTL"),
        ("--stale-while-revalidate", "STALE_WHILE_REVALIDATE"),
        ("--stale-if-error", "STALE_IF_ERROR"),
        ("--negative-ttl", "NEGATIVE_TTL"),
    ] {
        wrong(flag, env, "-1s", period);
    }
    let allowed = line(&["--cache-memory-bytes=lots"], &[]);
    assert!(allowed.contains("(CACHE_MEMORY_BYTES) is \"lots\": a size from 0 B to "), "{allowed}");
    let allowed = line(&["--header-bytes-max=1KiB"], &[]);
    assert!(
        allowed.contains("(SEEKWAY_HEADER_BYTES_MAX) is \"1KiB\": a size from 8.0 KiB to 1.0 MiB"),
        "{allowed}"
    );
}

#[test]
fn settings_are_checked_together() {
    let no_bucket = line(&["--storage-backend=s3"], &[("S3_BUCKET", "")]);
    assert_eq!(
        no_bucket,
        "gateway: --s3-bucket (S3_BUCKET) is not set: the s3 backend needs the name of a bucket"
    );
    let budget = line(&["--memory-budget-bytes=1MiB"], &[("CACHE_SEGMENT_BYTES", "128KiB")]);
    let name = "gateway: --memory-budget-bytes (MEMORY_BUDGET_BYTES)";
    assert_eq!(budget, format!("{name} is \"1MiB\": at least 2.0 MiB, 16 segments"));
    let memory = line(&[], &[("CACHE_MEMORY_BYTES", "64KiB")]);
    let name = "gateway: --cache-memory-bytes (CACHE_MEMORY_BYTES)";
    assert_eq!(memory, format!("{name} is \"64KiB\": 0, or at least 1.0 MiB, 16 segments"));
    assert_eq!(config(&["--cache-memory-bytes=0"], &[]).cache().memory_bytes, 0);
    let twice = line(&["--admin-listen=127.0.0.1:8080"], &[]);
    assert!(twice.ends_with("is \"127.0.0.1:8080\": another address than --listen has"), "{twice}");
    config(&["--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0"], &[]);
}

#[test]
fn wrong_flags_are_one_line_too() {
    let unknown = line(&["--lisen=a"], &[]);
    assert_eq!(unknown, "gateway: \"--lisen\" is no setting, perhaps --listen is meant; --help lists them");
    assert_eq!(line(&["serve"], &[]), "gateway: \"serve\" is no setting; --help lists them");
    assert_eq!(line(&["--listen"], &[]), "gateway: --listen (SEEKWAY_LISTEN) needs a value");
    let twice = line(&["--threads=1", "--threads=2"], &[]);
    assert_eq!(twice, "gateway: --threads (SEEKWAY_THREADS) is given more than once");
}

#[cfg(unix)]
#[test]
fn a_value_that_is_no_text_is_one_line() {
    use std::os::unix::ffi::OsStringExt;
    let invalid = OsString::from_vec(vec![0xff]);
    let stop = Config::from_args(["gateway"], |name| (name == "S3_BUCKET").then(|| invalid.clone()));
    assert!(matches!(stop, Err(Stop::Wrong { line, .. }) if !line.contains('\n')));
}

#[test]
fn help_and_version_are_no_mistakes() {
    for flag in ["--help", "-h", "--version", "-V"] {
        let stop = read(&[flag], &[]).expect_err("nothing is started");
        assert!(matches!(stop, Stop::Shown(_)), "{flag}");
    }
    let help = read(&["--help"], &[]).expect_err("nothing is started").to_string();
    let flags = help.lines().filter(|line| line.trim_start().starts_with("--")).count();
    // Without the line ends that wrapping put in.
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for told in [
        "--cache-segment-bytes",
        "[env: CACHE_SEGMENT_BYTES]",
        "[default: 64KiB]",
        "Cache and memory:",
        "30s",
    ] {
        assert!(help.contains(told), "{told} in {help}");
    }
    // Every flag but clap's own two has a variable, and the help names each once.
    assert!(flags > 30);
    assert_eq!(help.matches("[env: ").count(), flags, "{help}");
}

#[test]
fn tls_needs_all_that_it_needs() {
    let all = [
        ("SEEKWAY_TLS_LISTEN", "127.0.0.1:8443"),
        ("SEEKWAY_TLS_CERTIFICATE", "tls.crt"),
        ("SEEKWAY_TLS_KEY", "tls.key"),
    ];
    let (listen, files) = config(&[], &all).listeners.tls().expect("it is set");
    assert_eq!((listen.port(), files.key.to_str()), (8443, Some("tls.key")));
    for (missing, told) in [
        (0, "--tls-listen (SEEKWAY_TLS_LISTEN) is not set: TLS needs an address to serve it on"),
        (
            1,
            "--tls-certificate (SEEKWAY_TLS_CERTIFICATE) is not set: TLS needs the PEM file of the certificate",
        ),
        (2, "--tls-key (SEEKWAY_TLS_KEY) is not set: TLS needs the PEM file of the certificate's key"),
    ] {
        let some: Vec<_> = all.iter().filter(|set| **set != all[missing]).copied().collect();
        assert_eq!(line(&[], &some), format!("gateway: {told}"));
    }
    for taken in ["--listen=127.0.0.1:8443", "--admin-listen=127.0.0.1:8443"] {
        let told = line(&[taken], &all);
        assert!(
            told.starts_with("gateway: --tls-listen (SEEKWAY_TLS_LISTEN) is \"127.0.0.1:8443\""),
            "{told}"
        );
    }
    // Whoever can connect over TLS from elsewhere is not this machine.
    assert_eq!(config(&[], &all).listing(), Listing::ThisMachine);
    assert_eq!(config(&["--tls-listen=0.0.0.0:8443"], &all).listing(), Listing::Nobody);
}

#[test]
fn credentials_come_as_a_pair_and_never_as_arguments() {
    let pair = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret")];
    let read = config(&[], &pair).storage.s3_credentials.expect("they are set");
    assert_eq!((&*read.access_key_id, &*read.secret_access_key, read.session_token), ("id", "secret", None));
    assert!(config(&[], &[]).storage.s3_credentials.is_none());
    assert!(
        config(&[], &[("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "")])
            .storage
            .s3_credentials
            .is_none()
    );
    for (set, missing) in [(pair[0], "AWS_SECRET_ACCESS_KEY"), (pair[1], "AWS_ACCESS_KEY_ID")] {
        let line = line(&[], &[set]);
        assert!(
            line.starts_with(&format!("gateway: {missing} is not set")) && !line.contains("\"secret\""),
            "{line}"
        );
    }
}

#[test]
fn a_mistyped_log_level_is_refused() {
    let allowed = "a level (error, warn, info, debug, trace) or a filter such as info,seekway_cache=debug";
    for value in ["loud", "info,seekway_cache", "verbose=", "wrong \u{1}"] {
        wrong("--log", "SEEKWAY_LOG", value, allowed);
    }
    for value in ["info", "off", "DEBUG", "warn,seekway_cache=trace", "[request]=debug"] {
        assert_eq!(config(&[], &[("SEEKWAY_LOG", value)]).logs.log, value);
    }
}
