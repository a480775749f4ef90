//! Finds out what lies at addresses that a person has typed.

use std::{net::SocketAddr, time::Duration};

use http::Uri;
use tokio::time::timeout;

use super::{
    Film, Target,
    http1::{Connection, Head},
};
use crate::Error;

/// A server that takes longer to say how long an object is, is not to be put under load.
const PATIENCE: Duration = Duration::from_secs(10);

impl Target {
    /// The objects at `urls`, all of one server, of which each is asked for its first byte. With `first_seed` they are
    /// those of a shaped origin, in the order of their seeds.
    ///
    /// `permit` is asked before anything is sent, with the address that the host resolves to.
    pub async fn probe(
        urls: &[String],
        first_seed: Option<u64>,
        permit: impl Fn(SocketAddr) -> Result<(), String>,
    ) -> Result<Self, Error> {
        let refused = |url: &str, why: String| Error::Target { url: url.to_owned(), why };
        let mut server: Option<(String, SocketAddr)> = None;
        let mut films = Vec::new();
        for (nth, url) in (0..).zip(urls) {
            let (host, path) = parts(url).map_err(|why| refused(url, why))?;
            let address = match &server {
                None => {
                    let address = resolve(&host).await.map_err(|why| refused(url, why))?;
                    permit(address).map_err(|why| refused(url, why))?;
                    server = Some((host.clone(), address));
                    address
                }
                Some((first, address)) if *first == host => *address,
                Some((first, _)) => {
                    return Err(refused(url, format!("all targets must be of one server, here {first}")));
                }
            };
            let target = Self { address, host, films: Vec::new() };
            let size = size(&target, &path).await.map_err(|why| refused(url, why))?;
            films.push(Film { path, size, seed: first_seed.map(|seed| seed + nth) });
        }
        let (host, address) = server.ok_or_else(|| refused("nothing", "no target was given".to_owned()))?;
        Ok(Self { address, host, films })
    }
}

/// Host with port, and path with query.
fn parts(url: &str) -> Result<(String, String), String> {
    let uri: Uri = url.parse().map_err(|error| format!("{error}; expected http://HOST[:PORT]/PATH"))?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => {
            return Err("https is not spoken here; name a listener of the server without TLS".to_owned());
        }
        _ => return Err("expected http://HOST[:PORT]/PATH".to_owned()),
    }
    let host = uri.host().filter(|host| !host.is_empty()).ok_or("it names no host")?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Ok((format!("{host}:{}", uri.port_u16().unwrap_or(80)), path.to_owned()))
}

async fn resolve(host: &str) -> Result<SocketAddr, String> {
    let found = tokio::net::lookup_host(host).await;
    let mut addresses = found.map_err(|error| format!("the host {host} does not resolve: {error}"))?;
    addresses.next().ok_or_else(|| format!("the host {host} has no address"))
}

async fn size(target: &Target, path: &str) -> Result<u64, String> {
    let film = Film { path: path.to_owned(), size: 1, seed: None };
    let asking = async {
        let mut connection = Connection::connect(target.address).await?;
        connection.ask(&target.request(&film, &(0..1))).await
    };
    let answer = timeout(PATIENCE, asking).await.map_err(|_| format!("no answer within {PATIENCE:?}"))?;
    match answer.map_err(|error| format!("{} does not answer as it should: {error}", target.address))? {
        Head { status: 206, place: Some((0, size)), .. } => Ok(size),
        Head { status: 200, .. } => {
            Err("it does not serve ranges: it answers with the whole object".to_owned())
        }
        Head { status: 404, .. } => Err("it was not found (404)".to_owned()),
        Head { status: 416, .. } => Err("it is empty (416)".to_owned()),
        Head { status, .. } => Err(format!("it answers {status} where it should answer 206")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::{Fault, Object, Origin, Shape};

    #[tokio::test]
    async fn objects_are_found_and_what_cannot_be_loaded_is_explained() {
        let origin = Origin::start(Shape::default()).unwrap();
        origin.put_pattern("media", "a b.mp4", 1000, 7);
        origin.put_pattern("media", "c.mp4", 77, 8);
        origin.put("media", "empty", Object::bytes(""));
        let here = origin.address();
        let probe = async |paths: &[&str]| {
            let urls: Vec<_> = paths.iter().map(|path| path.replace("HERE", &here.to_string())).collect();
            Target::probe(&urls, Some(7), |address| {
                if address == here { Ok(()) } else { Err("that is not allowed".to_owned()) }
            })
            .await
        };
        let target = probe(&["http://HERE/media/a%20b.mp4?x=1", "http://HERE/media/c.mp4"]).await.unwrap();
        assert_eq!((target.address, &target.host), (here, &here.to_string()));
        let films: Vec<_> = target.films.iter().map(|film| (&*film.path, film.size, film.seed)).collect();
        assert_eq!(films, [("/media/a%20b.mp4?x=1", 1000, Some(7)), ("/media/c.mp4", 77, Some(8))]);

        for (urls, why) in [
            (&["https://HERE/media/c.mp4"][..], "https is not spoken"),
            (&["HERE/media/c.mp4"], "expected http://HOST[:PORT]/PATH"),
            (&["http://HERE/media/none"], "not found (404)"),
            (&["http://HERE/media/empty"], "empty (416)"),
            (&["http://nowhere.invalid/a"], "does not resolve"),
            (&["http://127.0.0.1:1/a"], "that is not allowed"),
            (&["http://HERE/media/c.mp4", "http://127.0.0.1:1/a"], "of one server"),
            (&[], "no target"),
        ] {
            let error = probe(urls).await.unwrap_err().to_string();
            assert!(error.contains(why), "{urls:?}: {error}");
        }
        origin.fault(Fault::IgnoreRange.times(1));
        let error = probe(&["http://HERE/media/c.mp4"]).await.unwrap_err().to_string();
        assert!(error.contains("does not serve ranges"), "{error}");
    }
}
