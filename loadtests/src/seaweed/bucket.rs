//! A bucket as SeaweedFS itself has it: a folder of its file API, which needs no signature.

use std::{collections::HashSet, net::SocketAddr, ops::Range};

use bytes::Bytes;
use http::{Method, StatusCode, header};
use serde::Deserialize;

use super::{expect_success, unexpected};
use crate::{
    Error,
    client::Client,
    load::{Content, Uploads},
};

/// More than a test or a run has in one folder.
const ENTRIES_MAX: usize = 10_000;
/// Go's `fs.ModeDir`.
const MODE_FOLDER: u32 = 1 << 31;
/// Where SeaweedFS keeps the parts of uploads under way.
const UNDER_WAY: &str = ".uploads";

/// A bucket.
#[derive(Debug)]
pub struct Bucket {
    filer: SocketAddr,
    name: String,
}

/// What a look at everything in a bucket came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// Uploads of which every byte is there, and once.
    pub right: u64,
    /// Bytes that were compared.
    pub bytes: u64,
}

/// What is asked of a folder.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listing {
    entries: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    full_path: String,
    mode: u32,
}

// === impl Bucket ===

impl Bucket {
    /// Creates it. It may exist already.
    pub(super) async fn create(filer: SocketAddr, name: String) -> Result<Self, Error> {
        let bucket = Self { filer, name };
        let path = format!("/buckets/{}/", bucket.name);
        let (status, body) = bucket.ask(Method::POST, &path, &[]).await?;
        if status != StatusCode::CONFLICT {
            expect_success("POST", &path, status, &body)?;
        }
        Ok(bucket)
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Deletes it with all that is in it.
    pub async fn delete(&self) -> Result<(), Error> {
        let path = format!("/buckets/{}?recursive=true", self.name);
        let (status, body) = self.ask(Method::DELETE, &path, &[]).await?;
        expect_success("DELETE", &path, status, &body)
    }

    /// Compares all that is here with what a run of `uploads` with this seed sent. Other objects do not matter.
    pub async fn check(&self, uploads: &Uploads, seed: u64) -> Result<Checked, Error> {
        let content = Content::new();
        let (mut found, mut wrong) = (HashSet::new(), HashSet::new());
        let mut compared = 0;
        let mut client = Client::connect(self.filer).await?;
        for path in self.objects().await? {
            let mut beginning = Vec::new();
            read(&mut client, &path, 0..Content::BEGINNING_BYTES, |_, bytes| beginning.extend(bytes)).await?;
            let Some(ticket) = Content::ticket_of(seed, &beginning) else { continue };
            let mut is_right = true;
            let compare = |offset, bytes: &[u8]| {
                is_right &= content.first_wrong(seed, ticket, offset, bytes).is_none();
            };
            // One byte too many would be found, too.
            let bytes = read(&mut client, &path, 0..uploads.bytes + 1, compare).await?;
            compared += bytes;
            if !found.insert(ticket) || !is_right || bytes != uploads.bytes {
                wrong.insert(ticket);
            }
        }
        Ok(Checked { right: found.difference(&wrong).count() as u64, bytes: compared })
    }

    /// The paths of all objects.
    async fn objects(&self) -> Result<Vec<String>, Error> {
        let mut folders = vec![format!("/buckets/{}", self.name)];
        let mut objects = Vec::new();
        while let Some(folder) = folders.pop() {
            let path = format!("{folder}/?limit={ENTRIES_MAX}");
            let (status, body) =
                self.ask(Method::GET, &path, &[(header::ACCEPT, "application/json")]).await?;
            expect_success("GET", &path, status, &body)?;
            let listing: Listing =
                serde_json::from_slice(&body).map_err(|_| unexpected("GET", &path, status, &body))?;
            for Entry { full_path, mode } in listing.entries.unwrap_or_default() {
                if mode & MODE_FOLDER == 0 {
                    objects.push(full_path);
                } else if !full_path.ends_with(UNDER_WAY) {
                    folders.push(full_path);
                }
            }
        }
        Ok(objects)
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(header::HeaderName, &str)],
    ) -> Result<(StatusCode, Bytes), Error> {
        let headers: Vec<_> =
            headers.iter().map(|(name, value)| (name.clone(), (*value).to_owned())).collect();
        let (answer, body) =
            Client::connect(self.filer).await?.request(method, path, &headers, Bytes::new()).await?;
        Ok((answer.status, body))
    }
}

/// Reads a part of an object, or what there is of it, and says how many bytes there were.
async fn read(
    client: &mut Client,
    path: &str,
    range: Range<u64>,
    on_data: impl FnMut(u64, &[u8]),
) -> Result<u64, Error> {
    let answer = client.get_range_with(path, range, on_data).await?;
    expect_success("GET", path, answer.status, b"")?;
    Ok(answer.bytes)
}
