//! `docs/configuration.md` lists every setting; this keeps it so.

use std::fmt::Write;
use std::path::Path;

use clap::CommandFactory;
use seekway_settings::database::DATABASE;
use seekway_settings::logs::LOGS;
use seekway_settings::storage::STORAGE;

use super::accounts::ACCOUNTS;
use super::cache::CACHE;
use super::clients::CLIENTS;
use super::delivery::DELIVERY;
use super::listeners::LISTENERS;
use super::transcoding::TRANSCODING;
use super::uploads::UPLOADS;
use super::*;

const BEGIN: &str = "<!-- settings: written by `make docs` -->\n";
const END: &str = "<!-- /settings -->";

/// The tables, from what `--help` says.
fn tables() -> String {
    let mut text = String::new();
    let command = Config::command();
    for heading in
        [LISTENERS, CLIENTS, STORAGE, CACHE, DELIVERY, UPLOADS, TRANSCODING, DATABASE, ACCOUNTS, LOGS]
    {
        write!(text, "\n### {heading}\n\n| flag | variable | default | meaning |\n|---|---|---|---|\n")
            .expect("a String takes all");
        for arg in command.get_arguments().filter(|arg| arg.get_help_heading() == Some(heading)) {
            let help = arg.get_help().expect("every setting has a help text").to_string();
            let (help, told) = match help.split_once(" [default: ") {
                Some((help, told)) => (help, Some(told.trim_end_matches(']').to_owned())),
                None => (help.as_str(), None),
            };
            let values: Vec<_> =
                arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
            let default = told.unwrap_or_else(|| {
                if values.is_empty() { "—".into() } else { format!("`{}`", values.join(",")) }
            });
            let allowed: Vec<_> =
                arg.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
            let allowed =
                if allowed.is_empty() { String::new() } else { format!(" ({})", allowed.join(", ")) };
            writeln!(
                text,
                "| `--{}` | `{}` | {default} | {}{allowed} |",
                arg.get_long().expect("every setting is a flag"),
                arg.get_env().expect("every setting has a variable").to_string_lossy(),
                help.replace('|', "\\|"),
            )
            .expect("a String takes all");
        }
    }
    text.push('\n');
    text
}

#[test]
fn the_documentation_lists_every_setting_as_it_is() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let page = std::fs::read_to_string(&path).expect("the page exists");
    let (before, rest) = page.split_once(BEGIN).expect("the page has the mark where the tables begin");
    let (written, after) = rest.split_once(END).expect("the page has the mark where the tables end");
    let tables = tables();
    if std::env::var_os("SEEKWAY_WRITE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{tables}{END}{after}"))
            .expect("the page can be written");
    } else {
        assert!(written == tables, "docs/configuration.md is not what --help says; run `make docs`");
    }
}
