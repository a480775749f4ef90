//! The tables of `docs/configuration.md`, from what `--help` says: for the tests that keep it so.

use std::fmt::Write as _;
use std::path::Path;

use clap::Command;

/// The tables of a program's settings, one for each of these headings.
fn tables(command: &Command, headings: &[&str]) -> String {
    let mut text = String::new();
    for heading in headings {
        write!(text, "\n### {heading}\n\n| flag | variable | default | meaning |\n|---|---|---|---|\n")
            .expect("a String takes all");
        for arg in command.get_arguments().filter(|arg| arg.get_help_heading() == Some(*heading)) {
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

/// Checks that the page at `path` has the tables between the marks of that name, or writes them there where
/// `SEEKWAY_WRITE_DOCS` is set.
///
/// # Panics
/// When it has others.
pub fn check(path: &Path, mark: &str, command: &Command, headings: &[&str]) {
    let (begin, end) = (format!("<!-- {mark}: written by `make docs` -->\n"), format!("<!-- /{mark} -->"));
    let page = std::fs::read_to_string(path).expect("the page exists");
    let (before, rest) = page.split_once(&begin).expect("the page has the mark where the tables begin");
    let (written, after) = rest.split_once(&end).expect("the page has the mark where the tables end");
    let tables = tables(command, headings);
    if std::env::var_os("SEEKWAY_WRITE_DOCS").is_some() {
        std::fs::write(path, format!("{before}{begin}{tables}{end}{after}"))
            .expect("the page can be written");
    } else {
        assert!(written == tables, "docs/configuration.md is not what --help says; run `make docs`");
    }
}
