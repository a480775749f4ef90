//! Where an HTTP/1 request head ends and what follows it, read strictly (RFC 9112 §2 to §6). Pure.
//!
//! Request smuggling lives from two readers that see different requests in the same bytes: a proxy in front
//! and the server behind it. hyper follows the RFC also where that lets a recipient be generous: a bare LF ends
//! a line, `Transfer-Encoding` overrides `Content-Length`. Here whatever could be read in two ways is refused,
//! before hyper sees it, and each refusal has its status and its reason.

use std::net::Ipv6Addr;

/// How large a head may be.
#[derive(Debug, Clone, Copy)]
pub struct HeadLimits {
    /// Bytes of all of it.
    pub bytes_max: usize,
    /// Header lines.
    pub headers_max: usize,
}

/// What comes after a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// So many bytes, none perhaps.
    Length(u64),
    /// Chunks.
    Chunked,
}

/// Why a head is refused. The texts are for clients; the connection ends in each case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadHead {
    /// RFC 9112 §2.2: a bare CR is invalid everywhere, and a bare LF we need not accept.
    #[error("a line of the request head does not end in CR LF, or has a CR in it")]
    LineEnd,
    /// RFC 9110 §5.5 for values; nowhere else are they allowed.
    #[error("the request head has a control character in it")]
    Control,
    /// §3; HTTP/0.9 looks like this, too.
    #[error("the request line is not a method, a target and a version with one space between them")]
    RequestLine,
    /// §3: "a method that is longer than any that it implements".
    #[error("there is no such method")]
    Method,
    /// RFC 9110 §9.3.6.
    #[error("this is no proxy: CONNECT is not implemented")]
    Connect,
    /// §3.2
    #[error("the request target is neither a path, nor a URL with http or https, nor * with OPTIONS")]
    Target,
    /// RFC 9110 §15.6.6.
    #[error("the version is not HTTP/1.1 or HTTP/1.0 here")]
    Version,
    /// §3: "a request-target longer than any URI it wishes to parse".
    #[error("the request target is too long")]
    TargetTooLong,
    /// RFC 6585 §5.
    #[error("the request head is too large")]
    TooLarge,
    /// RFC 6585 §5.
    #[error("the request has too many headers")]
    TooManyHeaders,
    /// §5.2: a server may refuse it, and must outside of message/http containers replace it.
    #[error("a header line begins with a space: lines must not be folded")]
    Folded,
    /// §5.1: "whitespace between the field name and the colon" must be refused.
    #[error("a header line is not a name, directly followed by a colon, and a value")]
    Header,
    /// §3.2
    #[error("the request must have exactly one Host header")]
    Hosts,
    /// §3.2, and RFC 9110 §4.2.4 for a user before it.
    #[error("the host is not a name or address with an optional port")]
    Host,
    /// RFC 9110 §8.6; also a repeated one that says the same may be refused.
    #[error("the request must have at most one Content-Length, which is a plain number")]
    ContentLength,
    /// RFC 9110 §15.5.14.
    #[error("the Content-Length is more than anything can have")]
    ContentTooLarge,
    /// §6.1 and §6.3: not in HTTP/1.0, not with a Content-Length, and the last coding must be chunked, once.
    #[error("the Transfer-Encoding is not just chunked, or comes with a Content-Length or in HTTP/1.0")]
    TransferEncoding,
    /// §6.1: "a transfer coding it does not understand".
    #[error("no transfer coding but chunked is understood")]
    TransferCoding,
}

/// Reads one head, as often as more of it has come.
#[derive(Debug, Default)]
pub struct HeadScan {
    /// Where the line begins that is not complete yet.
    line_at: usize,
    /// Up to here all bytes have been looked at.
    seen: usize,
    headers: usize,
    version: Option<Minor>,
    has_host: bool,
    content_length: Option<u64>,
    is_chunked: bool,
}

/// HTTP/1.…
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Minor {
    Zero,
    One,
}

/// Longer than any method in the IANA registry (`UPDATEREDIRECTREF`, 17).
const METHOD_BYTES_MAX: usize = 24;

// === impl BadHead ===

impl BadHead {
    /// The status that it is answered with.
    pub fn status(self) -> http::StatusCode {
        use http::StatusCode as Status;
        match self {
            Self::Method | Self::Connect | Self::TransferCoding => Status::NOT_IMPLEMENTED,
            Self::Version => Status::HTTP_VERSION_NOT_SUPPORTED,
            Self::TargetTooLong => Status::URI_TOO_LONG,
            Self::TooLarge | Self::TooManyHeaders => Status::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::ContentTooLarge => Status::PAYLOAD_TOO_LARGE,
            _ => Status::BAD_REQUEST,
        }
    }
}

// === impl HeadScan ===

impl HeadScan {
    /// Looks at what is new in `bytes`, which begin where the head does. When the head is complete: its length,
    /// and what comes after it. The scan is then spent.
    pub fn scan(&mut self, bytes: &[u8], limits: HeadLimits) -> Result<Option<(usize, Content)>, BadHead> {
        while let Some(&byte) = bytes.get(self.seen) {
            let after_cr = self.seen > self.line_at && bytes[self.seen - 1] == b'\r';
            self.seen += 1;
            if self.seen > limits.bytes_max {
                let in_first_line = self.version.is_none();
                return Err(if in_first_line { BadHead::TargetTooLong } else { BadHead::TooLarge });
            }
            match byte {
                b'\n' if !after_cr => return Err(BadHead::LineEnd),
                b'\n' => {
                    let line = &bytes[self.line_at..self.seen - 2];
                    self.line_at = self.seen;
                    match self.version {
                        // §2.2: empty lines before the request line are to be ignored.
                        None if line.is_empty() => {}
                        None => self.request_line(line)?,
                        Some(version) if line.is_empty() => return Ok(Some((self.seen, self.end(version)?))),
                        Some(version) => self.header(line, version, limits)?,
                    }
                }
                _ if after_cr => return Err(BadHead::LineEnd),
                b'\r' | b'\t' | b' '..=b'~' | 0x80.. => {}
                _ => return Err(BadHead::Control),
            }
        }
        Ok(None)
    }

    fn request_line(&mut self, line: &[u8]) -> Result<(), BadHead> {
        let mut parts = line.split(|byte| *byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(BadHead::RequestLine);
        };
        if method.is_empty() || target.is_empty() || !method.iter().copied().all(is_token) {
            return Err(BadHead::RequestLine);
        }
        self.version = Some(match version {
            b"HTTP/1.1" => Minor::One,
            b"HTTP/1.0" => Minor::Zero,
            [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => return Err(BadHead::Version),
            _ => return Err(BadHead::RequestLine),
        });
        if method.len() > METHOD_BYTES_MAX {
            return Err(BadHead::Method);
        }
        if method == b"CONNECT" {
            return Err(BadHead::Connect);
        }
        check_target(target, method == b"OPTIONS")
    }

    fn header(&mut self, line: &[u8], version: Minor, limits: HeadLimits) -> Result<(), BadHead> {
        self.headers += 1;
        if self.headers > limits.headers_max {
            return Err(BadHead::TooManyHeaders);
        }
        if matches!(line[0], b' ' | b'\t') {
            return Err(BadHead::Folded);
        }
        let colon = line.iter().position(|byte| *byte == b':').ok_or(BadHead::Header)?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.is_empty() || !name.iter().copied().all(is_token) {
            return Err(BadHead::Header);
        }
        if name.eq_ignore_ascii_case(b"host") {
            if self.has_host {
                return Err(BadHead::Hosts);
            }
            self.has_host = true;
            if !is_host(value) {
                return Err(BadHead::Host);
            }
        } else if name.eq_ignore_ascii_case(b"content-length") {
            let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
            if !is_number || self.content_length.is_some() {
                return Err(BadHead::ContentLength);
            }
            let number = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
            let possible = number.filter(|length| i64::try_from(*length).is_ok());
            self.content_length = Some(possible.ok_or(BadHead::ContentTooLarge)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.is_chunked || version == Minor::Zero {
                return Err(BadHead::TransferEncoding);
            }
            check_transfer_encoding(value)?;
            self.is_chunked = true;
        }
        Ok(())
    }

    fn end(&self, version: Minor) -> Result<Content, BadHead> {
        if version == Minor::One && !self.has_host {
            return Err(BadHead::Hosts);
        }
        match (self.is_chunked, self.content_length) {
            (true, Some(_)) => Err(BadHead::TransferEncoding),
            (true, None) => Ok(Content::Chunked),
            (false, length) => Ok(Content::Length(length.unwrap_or(0))),
        }
    }
}

/// §3.2: origin-form, absolute-form, or asterisk-form. None of them has a fragment.
fn check_target(target: &[u8], is_options: bool) -> Result<(), BadHead> {
    let has_scheme =
        |scheme: &[u8]| target.len() > scheme.len() && target[..scheme.len()].eq_ignore_ascii_case(scheme);
    let known = match target {
        b"*" => is_options,
        [b'/', ..] => true,
        _ => has_scheme(b"http://") || has_scheme(b"https://"),
    };
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:@?".contains(byte);
    if !known || target.contains(&b'#') {
        return Err(BadHead::Target);
    }
    if target[0] == b'/' && target.iter().all(is_plain) {
        return Ok(());
    }
    // What hyper will make of it, so that it cannot refuse what passes here.
    let uri = http::Uri::try_from(target).map_err(|_| BadHead::Target)?;
    match uri.authority() {
        Some(authority) if !is_host(authority.as_str().as_bytes()) => Err(BadHead::Host),
        _ => Ok(()),
    }
}

/// §6.1: `chunked` and nothing else.
fn check_transfer_encoding(value: &[u8]) -> Result<(), BadHead> {
    let mut codings = value.rsplit(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    if !codings.next().is_some_and(is_chunked) {
        return Err(BadHead::TransferEncoding);
    }
    match codings.map(is_chunked).reduce(|one, other| one || other) {
        None => Ok(()),
        Some(true) => Err(BadHead::TransferEncoding),
        Some(false) => Err(BadHead::TransferCoding),
    }
}

/// `uri-host [ ":" port ]` (RFC 9110 §7.2), not empty and without a user.
pub fn is_host(value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(value) else { return false };
    let (is_name, port) = if let Some(bracketed) = text.strip_prefix('[') {
        let Some((address, port)) = bracketed.split_once(']') else { return false };
        (address.parse::<Ipv6Addr>().is_ok(), port)
    } else {
        let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
        let in_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte);
        (!name.is_empty() && name.bytes().all(in_name), port)
    };
    let port = port.strip_prefix(':').or(port.is_empty().then_some(""));
    is_name && port.is_some_and(|port| port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// RFC 9110 §5.6.2.
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests;
