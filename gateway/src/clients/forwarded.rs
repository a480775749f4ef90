//! The client behind trusted proxies, from `Forwarded` (RFC 7239) or `X-Forwarded-For`. Pure.
//!
//! Each proxy adds the address it was asked from at the right end. So the list is read from there, and as long
//! as the speaker is trusted its word is taken; whatever stands left of the first stranger is the stranger's
//! invention. A name that hides an address, or a line that does not parse, ends the walk at the proxy before
//! it: nobody can take on another's address by breaking the syntax.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::HeaderMap;
use http::header::{FORWARDED, HeaderName};

use super::TrustedProxies;
use crate::framing::is_token;

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The client of a request that came from `peer`.
///
/// From a peer that is not trusted, it is the peer. `X-Forwarded-For` counts only where there is no
/// `Forwarded`: a proxy that writes one of them passes the other one on as the client sent it.
pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &TrustedProxies) -> IpAddr {
    let peer = peer.to_canonical();
    if !trusted.contains(peer) {
        return peer;
    }
    if headers.contains_key(FORWARDED) {
        walk(peer, nodes(headers, &FORWARDED, forwarded_line), trusted)
    } else {
        walk(peer, nodes(headers, &X_FORWARDED_FOR, x_forwarded_for_line), trusted)
    }
}

/// Whether the nearest proxy was asked by TLS: the last `proto` of `Forwarded` (RFC 7239 §5.4), or else of
/// `X-Forwarded-Proto`, which is no standard. Only a trusted peer's word counts.
pub fn says_https(headers: &HeaderMap) -> bool {
    let last =
        |name: &HeaderName| headers.get_all(name).iter().next_back().and_then(|line| line.to_str().ok());
    let proto = match last(&FORWARDED) {
        Some(line) => {
            line.rsplit(',').next().into_iter().flat_map(|element| element.split(';')).find_map(|pair| {
                let (name, value) = pair.trim_matches(is_space).split_once('=')?;
                name.eq_ignore_ascii_case("proto").then(|| value.trim_matches('"'))
            })
        }
        None => last(&X_FORWARDED_PROTO).and_then(|line| line.rsplit(',').next()),
    };
    proto.is_some_and(|proto| proto.trim_matches(is_space).eq_ignore_ascii_case("https"))
}

/// The first address from the right that is not trusted, or the last one that is known.
fn walk(peer: IpAddr, nodes: Vec<Option<IpAddr>>, trusted: &TrustedProxies) -> IpAddr {
    let mut client = peer;
    for node in nodes.into_iter().rev() {
        match node {
            Some(address) => client = address,
            None => break,
        }
        if !trusted.contains(client) {
            break;
        }
    }
    client
}

/// All lines of a header as one list (RFC 9110 §5.3); `None` is a node without an address.
fn nodes(
    headers: &HeaderMap,
    name: &HeaderName,
    parse: fn(&str) -> Option<Vec<Option<IpAddr>>>,
) -> Vec<Option<IpAddr>> {
    let lines = headers.get_all(name).iter();
    lines.flat_map(|line| line.to_str().ok().and_then(parse).unwrap_or_else(|| vec![None])).collect()
}

/// The `for` of each element of one `Forwarded` line (RFC 7239 §4); `None` if it is none.
pub fn forwarded_line(line: &str) -> Option<Vec<Option<IpAddr>>> {
    let mut nodes = Vec::new();
    let mut rest = line.trim_matches(is_space);
    loop {
        let (mut node, mut has_pair, mut has_for) = (None, false, false);
        loop {
            if !rest.is_empty() && !rest.starts_with([';', ',']) {
                let (name, value, after) = pair(rest)?;
                if name.eq_ignore_ascii_case("for") {
                    // §4: "Each parameter MUST NOT occur more than once per field-value."
                    if has_for {
                        return None;
                    }
                    (node, has_for) = (node_address(&value), true);
                }
                (rest, has_pair) = (after, true);
            }
            match rest.strip_prefix(';') {
                Some(after) => rest = after.trim_start_matches(is_space),
                None => break,
            }
        }
        // RFC 9110 §5.6.1.2: empty elements of a list are not counted.
        if has_pair {
            nodes.push(node);
        }
        if rest.is_empty() {
            return Some(nodes);
        }
        rest = rest.strip_prefix(',')?.trim_start_matches(is_space);
    }
}

/// The addresses of one `X-Forwarded-For` line. No standard: addresses separated by commas, IPv6 with or
/// without brackets, and with a port from some load balancers.
pub fn x_forwarded_for_line(line: &str) -> Option<Vec<Option<IpAddr>>> {
    let nodes = line.split(',').map(|node| node.trim_matches(is_space)).filter(|node| !node.is_empty());
    Some(
        nodes
            .map(|node| node.parse::<Ipv6Addr>().ok().map(IpAddr::V6).or_else(|| node_address(node)))
            .map(|address| address.map(|address| address.to_canonical()))
            .collect(),
    )
}

/// `token "=" ( token / quoted-string )`, and what follows it up to the next `;` or `,`.
fn pair(text: &str) -> Option<(&str, String, &str)> {
    let (name, rest) = text.split_at(text.bytes().position(|byte| !is_token(byte))?);
    let rest = rest.strip_prefix('=').filter(|_| !name.is_empty())?;
    let (value, rest) = if let Some(quoted) = rest.strip_prefix('"') {
        unquote(quoted)?
    } else {
        let (token, rest) =
            rest.split_at(rest.bytes().position(|byte| !is_token(byte)).unwrap_or(rest.len()));
        (token.to_owned(), rest)
    };
    let rest = rest.trim_start_matches(is_space);
    (!value.is_empty() && (rest.is_empty() || rest.starts_with([';', ',']))).then_some((name, value, rest))
}

/// The text up to the closing quote without its escapes (RFC 9110 §5.6.4), and what follows.
fn unquote(quoted: &str) -> Option<(String, &str)> {
    let mut text = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((text, &quoted[at + 1..])),
            '\\' => text.push(chars.next()?.1),
            char => text.push(char),
        }
    }
    None
}

/// `nodename [ ":" node-port ]` (RFC 7239 §6); `None` for `unknown`, obfuscated names and what is no node.
fn node_address(node: &str) -> Option<IpAddr> {
    let (address, port) = if let Some(bracketed) = node.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']')?;
        (IpAddr::V6(address.parse::<Ipv6Addr>().ok()?), port)
    } else {
        let (address, port) = node.split_at(node.find(':').unwrap_or(node.len()));
        (IpAddr::V4(address.parse::<Ipv4Addr>().ok()?), port)
    };
    (port.is_empty() || port.strip_prefix(':').is_some_and(is_port)).then(|| address.to_canonical())
}

/// `port / obfport` (RFC 7239 §6.3).
fn is_port(port: &str) -> bool {
    let obfuscated = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match port.strip_prefix('_') {
        Some(name) => !name.is_empty() && name.bytes().all(obfuscated),
        None => (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

fn is_space(char: char) -> bool {
    matches!(char, ' ' | '\t')
}

#[cfg(test)]
mod tests;
