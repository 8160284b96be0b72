//! One request, and the redirects that answer it. They are followed here, and not by the HTTP client, so that each is looked at before it is asked.

use std::fs;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::Path;

use ureq::http::{Response, Uri, header};
use ureq::tls::{PemItem, RootCerts, TlsConfig};
use ureq::{Agent, Body, Timeout};

use super::watch::{self, Watch};
use super::{Limits, Stop};
use crate::host::cache::CacheError;
use crate::weights::names::Remote;

/// Redirects in a row.
const MAX_REDIRECTS: usize = 10;
/// Bytes of an address that a message shows.
const MAX_SHOWN: usize = 200;

/// Asks for one file.
pub(super) struct Client<'a> {
    agent: Agent,
    remote: &'a Remote,
    put_at: &'a Path,
    limits: &'a Limits,
}

impl<'a> Client<'a> {
    /// With the environment's proxy and certificates.
    pub fn new(remote: &'a Remote, put_at: &'a Path, limits: &'a Limits) -> Self {
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            // A connection that the server has left since would cost a try.
            .max_idle_connections(0)
            .user_agent(concat!("smalti/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(limits.connect))
            .timeout_connect(Some(limits.connect))
            .timeout_send_request(Some(limits.silence))
            .timeout_recv_response(Some(limits.silence))
            .timeout_per_read(Some(limits.silence));
        if let Some(roots) = certificates_from_env() {
            config = config.tls_config(TlsConfig::builder().root_certs(roots).build());
        }
        Self {
            agent: config.build().new_agent(),
            remote,
            put_at,
            limits,
        }
    }

    /// Does `work` with this client, and ends its connections when too little comes.
    pub fn watched<T>(&self, limits: &Limits, work: impl FnOnce(&mut Watch) -> T) -> T {
        watch::watched(&self.agent, limits, work)
    }

    /// Asks for the bytes from `start` on, if they are still of the version that `validator` names.
    pub fn get(&self, start: u64, validator: Option<&str>) -> Result<Response<Body>, Stop> {
        let mut url = self.remote.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let (scheme, _) = url.split_once("://").unwrap_or_default();
            if !matches!(&*scheme.to_ascii_lowercase(), "http" | "https") {
                return Err(self.refused(format!(
                    "only http:// and https:// addresses are followed, and not {}",
                    beginning(&url)
                )));
            }
            let uri: Uri = url.parse().map_err(|error| {
                self.network(format!("{} cannot be read ({error})", beginning(&url)))
            })?;
            let response = self.ask(&uri, start, validator)?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            let Some(location) = response.headers().get(header::LOCATION) else {
                return Ok(response);
            };
            url = self.next(&uri, location.as_bytes())?;
        }
        Err(self.refused(format!(
            "more than {MAX_REDIRECTS} redirects, the last of them to {}",
            beginning(&url)
        )))
    }

    /// Where a redirect leads to, if that may be followed.
    fn next(&self, from: &Uri, location: &[u8]) -> Result<String, Stop> {
        let next = join(from, location);
        let is_http = next.to_ascii_lowercase().starts_with("http:");
        if from.scheme_str() == Some("https") && is_http && self.remote.digest.is_none() {
            return Err(self.refused(format!(
                "{} leads to {}, and on the way of http anyone can change a file whose name has no digest to check it by",
                beginning(&from.to_string()),
                beginning(&next)
            )));
        }
        Ok(next)
    }

    fn ask(&self, uri: &Uri, start: u64, validator: Option<&str>) -> Result<Response<Body>, Stop> {
        // Nothing but this is ever sent, so that a redirect cannot carry it elsewhere.
        let mut request = self
            .agent
            .get(uri)
            .header(header::ACCEPT_ENCODING, "identity");
        if start > 0 {
            request = request.header(header::RANGE, format!("bytes={start}-"));
            if let Some(validator) = validator {
                request = request.header(header::IF_RANGE, validator);
            }
        }
        if is_this_machine(uri.host().unwrap_or_default()) {
            request = request.config().proxy(None).build();
        }
        request.call().map_err(|error| {
            use ureq::Error;
            let passing = matches!(
                error,
                Error::Io(_)
                    | Error::Timeout(_)
                    | Error::ConnectionFailed
                    | Error::Protocol(_)
                    | Error::BodyStalled
            );
            match passing {
                true => Stop::Again(self.why(&error)),
                false => self.network(self.why(&error)),
            }
        })
    }

    /// What happened, in the terms of a user.
    pub fn why(&self, error: &ureq::Error) -> String {
        let Limits {
            connect, silence, ..
        } = self.limits;
        match error {
            ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => {
                format!("no connection within {connect:?}")
            }
            ureq::Error::Timeout(Timeout::RecvResponse) => {
                format!("no complete answer within {silence:?}")
            }
            ureq::Error::Timeout(_) => format!("the server said nothing for {silence:?}"),
            ureq::Error::Io(error) if error.kind() == ErrorKind::UnexpectedEof => {
                "the connection ended before a complete answer".to_owned()
            }
            error => beginning(&error.to_string()),
        }
    }

    fn network(&self, why: String) -> Stop {
        Stop::Final(CacheError::Network {
            url: self.remote.url.clone(),
            why,
            put_at: self.put_at.to_owned(),
        })
    }

    fn refused(&self, why: String) -> Stop {
        Stop::Final(CacheError::Refused {
            url: self.remote.url.clone(),
            why,
            put_at: self.put_at.to_owned(),
        })
    }
}

/// The address that a `Location` means, seen from `base` (RFC 3986, section 5.2). Bytes that no address has are written as `%20`.
fn join(base: &Uri, location: &[u8]) -> String {
    let mut text = String::new();
    for &byte in location.trim_ascii() {
        match byte {
            b'#' => break,
            byte if byte.is_ascii_graphic() => text.push(byte as char),
            byte => text.push_str(&format!("%{byte:02X}")),
        }
    }
    let scheme_end = text.find(|c: char| !c.is_ascii_alphanumeric() && !"+-.".contains(c));
    if scheme_end.is_some_and(|end| end > 0 && text[end..].starts_with(':')) {
        return text;
    }
    let scheme = base.scheme_str().unwrap_or_default();
    if text.starts_with("//") {
        return format!("{scheme}:{text}");
    }
    let host = base.authority().map_or("", |authority| authority.as_str());
    let (path, query) = match text.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (&*text, None),
    };
    let path = match path {
        "" => base.path().to_owned(),
        path if path.starts_with('/') => without_dots(path),
        path => {
            let (folder, _) = base.path().rsplit_once('/').unwrap_or_default();
            without_dots(&format!("{folder}/{path}"))
        }
    };
    match query.or(base.query().filter(|_| text.is_empty())) {
        Some(query) => format!("{scheme}://{host}{path}?{query}"),
        None => format!("{scheme}://{host}{path}"),
    }
}

/// A path with its `.` and `..` followed.
fn without_dots(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let mut names = path.split('/').skip(1).peekable();
    while let Some(name) = names.next() {
        let last = names.peek().is_none();
        match name {
            "." => {}
            ".." => {
                parts.pop();
            }
            name => {
                parts.push(name);
                continue;
            }
        }
        if last {
            parts.push("");
        }
    }
    format!("/{}", parts.join("/"))
}

fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let loopback = |address: IpAddr| address.is_loopback();
    host.eq_ignore_ascii_case("localhost") || address.parse().is_ok_and(loopback)
}

/// The beginning of a server's text, for a message.
fn beginning(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// Networks that look into TLS give their certificates in a file; curl's, Python's and OpenSSL's variables name it.
fn certificates_from_env() -> Option<RootCerts> {
    let names = ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"].into_iter();
    let pem = names
        .filter_map(std::env::var_os)
        .find_map(|path| fs::read(path).ok())?;
    let certificates: Vec<_> = ureq::tls::parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    (!certificates.is_empty()).then(|| RootCerts::from(certificates))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_seen_from_the_address_that_gave_them() {
        let base: Uri = "https://x.org:81/a/b/c.pth?old=1".parse().unwrap();
        for (location, joined) in [
            ("http://y.org/z", "http://y.org/z"),
            ("ftp://y.org/z", "ftp://y.org/z"),
            ("javascript:alert(1)", "javascript:alert(1)"),
            ("//y.org/z", "https://y.org/z"),
            ("/z?q=1#part", "https://x.org:81/z?q=1"),
            ("z.pth", "https://x.org:81/a/b/z.pth"),
            ("../z:1.pth", "https://x.org:81/a/z:1.pth"),
            ("./../../../..", "https://x.org:81/"),
            ("?new=2", "https://x.org:81/a/b/c.pth?new=2"),
            ("", "https://x.org:81/a/b/c.pth?old=1"),
            (" z\u{7}ä b ", "https://x.org:81/a/b/z%07%C3%A4%20b"),
        ] {
            assert_eq!(join(&base, location.as_bytes()), joined, "{location}");
        }
    }

    #[test]
    fn from_https_to_http_only_with_a_digest() {
        let limits = Limits::default();
        let put_at = Path::new("put/here");
        let from: Uri = "https://x.org/a".parse().unwrap();
        let next = |name: &str, from: &Uri, location: &str| {
            let remote = Remote::new(name, None);
            let client = Client::new(&remote, put_at, &limits);
            match client.next(from, location.as_bytes()) {
                Ok(next) => next,
                Err(Stop::Final(error)) => error.to_string(),
                Err(Stop::Again(why)) => panic!("{why}"),
            }
        };
        let (plain, checked) = ("https://x.org/a.pth", "https://x.org/a-deadbeef.pth");
        let http = "HTTP://y.org/b.pth";
        assert_eq!(next(checked, &from, http), http);
        assert_eq!(next(plain, &from, "//y.org/b.pth"), "https://y.org/b.pth");
        assert_eq!(
            next(plain, &from, http),
            "refused to download https://x.org/a.pth: https://x.org/a leads to HTTP://y.org/b.pth, and on the way of http anyone can change a file whose name has no digest to check it by\nhelp: or download it by other means and put it at put/here"
        );
        let from: Uri = "http://x.org/a".parse().unwrap();
        assert_eq!(next(plain, &from, "/b.pth"), "http://x.org/b.pth");
    }

    #[test]
    fn only_this_machine_needs_no_proxy() {
        for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.8.9.1", "[::1]"] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in [
            "localhost.evil.com",
            "127.0.0.1.evil.com",
            "10.0.0.1",
            "[::2]",
            "",
        ] {
            assert!(!is_this_machine(host), "{host}");
        }
    }
}
