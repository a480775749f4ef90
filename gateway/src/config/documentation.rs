//! `docs/configuration.md` lists every setting; this keeps it so.

use std::path::Path;

use clap::CommandFactory;
use seekway_settings::database::DATABASE;
use seekway_settings::logs::LOGS;
use seekway_settings::queue::QUEUE;
use seekway_settings::storage::STORAGE;

use super::accounts::ACCOUNTS;
use super::cache::CACHE;
use super::clients::CLIENTS;
use super::delivery::DELIVERY;
use super::listeners::LISTENERS;
use super::transcoding::TRANSCODING;
use super::uploads::UPLOADS;
use super::*;

#[test]
fn the_documentation_lists_every_setting_as_it_is() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let headings =
        [LISTENERS, CLIENTS, STORAGE, CACHE, DELIVERY, UPLOADS, TRANSCODING, QUEUE, DATABASE, ACCOUNTS, LOGS];
    seekway_settings::documentation::check(&path, "settings", &Config::command(), &headings);
}
