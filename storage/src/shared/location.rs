//! Where Redis is: `REDIS_URL`, to a checked value.

use std::{fmt, path::PathBuf};

use super::StateError;

/// Hosts that an address may name.
const HOST_COUNT_MAX: usize = 64;

/// Where Redis is, and as whom to log in. Prints without the password.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisLocation {
    /// How the server is found.
    pub place: Place,
    /// Shake hands by TLS.
    pub tls: Option<TlsTrust>,
    /// The user of the access list; the default user if there is none.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<String>,
    /// The number of the database.
    pub database: i64,
}

/// How the server is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// At one address.
    Server(Host),
    /// At a Unix socket.
    Unix(PathBuf),
    /// By asking sentinels for the primary of a service.
    Sentinel {
        /// The sentinels.
        hosts: Vec<Host>,
        /// The name of the service.
        service: String,
        /// The sentinels' own user and password, if they ask for them.
        login: Option<SentinelLogin>,
    },
    /// A Redis Cluster, of which these nodes are known.
    Cluster(Vec<Host>),
}

/// The sentinels' own user and password. Prints without the password.
#[derive(Clone, PartialEq, Eq)]
pub struct SentinelLogin {
    /// The user; the default user if there is none.
    pub username: Option<String>,
    /// The password.
    pub password: String,
}

/// A host and its port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The name or address; an IPv6 address without brackets.
    pub name: String,
    /// The port.
    pub port: u16,
}

/// Whom TLS trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsTrust {
    /// The roots of the system.
    System,
    /// The certificates in a PEM file.
    File(PathBuf),
}

impl RedisLocation {
    /// Reads an address of Redis.
    ///
    /// `redis://[user:password@]host[:port][/database]`, `rediss://…` for TLS (`?ssl_ca_certs=`
    /// names a PEM file), `unix:///path[?db=n]` (`redis+unix:` is the same),
    /// `redis+sentinel://[user:password@]host[:port],…/service[/database]` (with
    /// `sentinel_username=` and `sentinel_password=` if the sentinels ask), and
    /// `redis://host[:port],…?cluster=true`. User and password are percent-encoded.
    ///
    /// # Errors
    ///
    /// [`StateError::Settings`] saying what is wrong, without repeating the address.
    pub fn parse(url: &str) -> Result<RedisLocation, StateError> {
        let (scheme, rest) = split_scheme(url.trim())?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let parameters = Parameters::parse(query)?;
        let (login, rest) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (username, password) = parse_login(login)?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (kind, is_tls) = match scheme.as_str() {
            "redis" | "valkey" => (Kind::Plain, false),
            "rediss" | "valkeys" => (Kind::Plain, true),
            "redis+sentinel" => (Kind::Sentinel, false),
            "rediss+sentinel" => (Kind::Sentinel, true),
            "unix" | "redis+unix" | "redis+socket" => (Kind::Unix, false),
            _ => return Err(invalid(&format!("has a scheme that is not known: {scheme:?}"))),
        };
        let (place, database) = match kind {
            Kind::Unix => parse_unix(authority, path, &parameters)?,
            Kind::Sentinel => parse_sentinel(authority, path, &parameters)?,
            Kind::Plain => parse_plain(authority, path, &parameters)?,
        };
        let tls = is_tls.then(|| parameters.trust());
        if tls.is_none() && parameters.ca_file.is_some() {
            return Err(invalid("names a CA file but not TLS: begin it with rediss://"));
        }
        Ok(RedisLocation { place, tls, username, password, database })
    }
}

enum Kind {
    Plain,
    Unix,
    Sentinel,
}

/// The parameters behind the question mark that mean something to us.
#[derive(Default)]
struct Parameters {
    cluster: bool,
    database: Option<i64>,
    ca_file: Option<PathBuf>,
    sentinel_username: Option<String>,
    sentinel_password: Option<String>,
}

impl Parameters {
    fn parse(query: &str) -> Result<Parameters, StateError> {
        let mut parameters = Parameters::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decode(value)?;
            match name {
                "cluster" => parameters.cluster = parse_switch(name, &value)?,
                "db" => parameters.database = Some(parse_database(&value)?),
                "ssl_ca_certs" => parameters.ca_file = Some(PathBuf::from(value)),
                "sentinel_username" => parameters.sentinel_username = Some(value),
                "sentinel_password" => parameters.sentinel_password = Some(value),
                "insecure" | "ssl_cert_reqs" | "ssl_check_hostname" => {
                    parse_check(name, &value)?;
                }
                // Timeouts, pool sizes and the like are other programs' business.
                _ => {}
            }
        }
        Ok(parameters)
    }

    fn trust(&self) -> TlsTrust {
        self.ca_file.clone().map_or(TlsTrust::System, TlsTrust::File)
    }

    fn sentinel_login(&self) -> Option<SentinelLogin> {
        let password = self.sentinel_password.clone()?;
        Some(SentinelLogin { username: self.sentinel_username.clone(), password })
    }
}

/// Accepts only the values that ask for a full check of the certificate: a switch that turns it
/// off must not be taken in silence.
fn parse_check(name: &str, value: &str) -> Result<(), StateError> {
    let is_strict = match name {
        "ssl_cert_reqs" => value.eq_ignore_ascii_case("required"),
        "ssl_check_hostname" => value.eq_ignore_ascii_case("true"),
        _ => value.eq_ignore_ascii_case("false"),
    };
    match is_strict {
        true => Ok(()),
        false => Err(invalid(&format!(
            "asks by {name} not to check the certificate, which is not supported: name the CA \
             by ssl_ca_certs"
        ))),
    }
}

fn parse_switch(name: &str, value: &str) -> Result<bool, StateError> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "" => Ok(true),
        "false" | "0" | "no" => Ok(false),
        _ => Err(invalid(&format!("has {name} that is neither true nor false"))),
    }
}

fn split_scheme(url: &str) -> Result<(String, &str), StateError> {
    let (scheme, rest) = url
        .split_once("://")
        .ok_or_else(|| invalid("has no scheme: write it as redis://host:6379/0"))?;
    Ok((scheme.to_ascii_lowercase(), rest))
}

fn parse_login(login: &str) -> Result<(Option<String>, Option<String>), StateError> {
    let filled = |text: String| (!text.is_empty()).then_some(text);
    match login.split_once(':') {
        // `redis://name@host` is a user without a password; Redis has no such thing.
        None => Ok((filled(decode(login)?), None)),
        Some((user, password)) => Ok((filled(decode(user)?), filled(decode(password)?))),
    }
}

fn parse_plain(
    authority: &str,
    path: &str,
    parameters: &Parameters,
) -> Result<(Place, i64), StateError> {
    let mut hosts = parse_hosts(authority, 6379)?;
    let database = match path.trim_end_matches('/') {
        "" => parameters.database.unwrap_or(0),
        number => parse_database(number)?,
    };
    if parameters.cluster {
        return match database {
            0 => Ok((Place::Cluster(hosts), 0)),
            _ => Err(invalid("names a database, which a cluster has not")),
        };
    }
    match (hosts.pop(), hosts.is_empty()) {
        (Some(host), true) => Ok((Place::Server(host), database)),
        _ => Err(invalid("names several hosts: add ?cluster=true, or use redis+sentinel://")),
    }
}

fn parse_unix(
    authority: &str,
    path: &str,
    parameters: &Parameters,
) -> Result<(Place, i64), StateError> {
    if !authority.is_empty() || path.is_empty() {
        return Err(invalid("names no socket: write it as unix:///path/to/redis.sock"));
    }
    let path = PathBuf::from(format!("/{}", decode(path)?));
    Ok((Place::Unix(path), parameters.database.unwrap_or(0)))
}

fn parse_sentinel(
    authority: &str,
    path: &str,
    parameters: &Parameters,
) -> Result<(Place, i64), StateError> {
    let hosts = parse_hosts(authority, 26379)?;
    let (service, number) = path.split_once('/').unwrap_or((path, ""));
    let service = decode(service)?;
    if service.is_empty() {
        return Err(invalid("names no service: write it as redis+sentinel://host:26379/mymaster"));
    }
    let database = match number.trim_end_matches('/') {
        "" => parameters.database.unwrap_or(0),
        number => parse_database(number)?,
    };
    Ok((Place::Sentinel { hosts, service, login: parameters.sentinel_login() }, database))
}

fn parse_hosts(authority: &str, port_usual: u16) -> Result<Vec<Host>, StateError> {
    let texts: Vec<&str> = authority.split(',').map(str::trim).collect();
    if texts.len() > HOST_COUNT_MAX {
        return Err(invalid(&format!("names more than {HOST_COUNT_MAX} hosts")));
    }
    texts.into_iter().map(|text| parse_host(text, port_usual)).collect()
}

fn parse_host(text: &str, port_usual: u16) -> Result<Host, StateError> {
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (name, rest) =
                rest.split_once(']').ok_or_else(|| invalid("has a bracket that is not closed"))?;
            (name, rest.strip_prefix(':').unwrap_or(rest))
        }
        None => text.rsplit_once(':').unwrap_or((text, "")),
    };
    if name.is_empty() {
        return Err(invalid("names no host: write it as redis://host:6379/0"));
    }
    let port = match port {
        "" => port_usual,
        _ => port.parse().map_err(|_| invalid("has a port that is none"))?,
    };
    Ok(Host { name: decode(name)?, port })
}

fn parse_database(text: &str) -> Result<i64, StateError> {
    let number: i64 = text.parse().map_err(|_| invalid("has a database that is no number"))?;
    if number < 0 { Err(invalid("has a database below zero")) } else { Ok(number) }
}

/// Undoes percent-encoding.
fn decode(text: &str) -> Result<String, StateError> {
    let fail = || invalid("has a percent sign that begins no encoded byte: write it as %25");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        rest = behind;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let digits = rest.split_at_checked(2).ok_or_else(fail)?;
        let digits_text = std::str::from_utf8(digits.0).map_err(|_| fail())?;
        bytes.push(u8::from_str_radix(digits_text, 16).map_err(|_| fail())?);
        rest = digits.1;
    }
    String::from_utf8(bytes).map_err(|_| invalid("encodes bytes that are not UTF-8"))
}

fn invalid(reason: &str) -> StateError {
    StateError::Settings { reason: reason.to_owned() }
}

impl std::str::FromStr for RedisLocation {
    type Err = StateError;

    fn from_str(url: &str) -> Result<RedisLocation, StateError> {
        RedisLocation::parse(url)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.contains(':') {
            true => write!(out, "[{}]:{}", self.name, self.port),
            false => write!(out, "{}:{}", self.name, self.port),
        }
    }
}

impl fmt::Display for RedisLocation {
    /// The address without user and password.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "rediss" } else { "redis" };
        let join =
            |hosts: &[Host]| hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        match &self.place {
            Place::Server(host) => write!(out, "{scheme}://{host}/{}", self.database),
            Place::Unix(path) => write!(out, "unix://{}?db={}", path.display(), self.database),
            Place::Sentinel { hosts, service, .. } => {
                write!(out, "{scheme}+sentinel://{}/{service}/{}", join(hosts), self.database)
            }
            Place::Cluster(hosts) => write!(out, "{scheme}://{}?cluster=true", join(hosts)),
        }
    }
}

impl fmt::Debug for RedisLocation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "RedisLocation({self})")
    }
}

impl fmt::Debug for SentinelLogin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SentinelLogin(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> RedisLocation {
        RedisLocation::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    fn host(name: &str, port: u16) -> Host {
        Host { name: name.to_owned(), port }
    }

    #[test]
    fn reads_a_server_with_its_user_password_and_database() {
        let location = parse("redis://me:p%40ss@cache.example:6380/3");
        assert_eq!(location.place, Place::Server(host("cache.example", 6380)));
        assert_eq!(location.username.as_deref(), Some("me"));
        assert_eq!(location.password.as_deref(), Some("p@ss"));
        assert_eq!((location.database, location.tls), (3, None));
        let location = parse("redis://:only@[::1]");
        assert_eq!(location.place, Place::Server(host("::1", 6379)));
        assert_eq!((location.username, location.password.as_deref()), (None, Some("only")));
    }

    #[test]
    fn reads_whom_tls_trusts() {
        assert_eq!(parse("rediss://cache").tls, Some(TlsTrust::System));
        let location = parse("rediss://cache?ssl_ca_certs=/etc/ca.pem&ssl_cert_reqs=required");
        assert_eq!(location.tls, Some(TlsTrust::File(PathBuf::from("/etc/ca.pem"))));
    }

    #[test]
    fn reads_sockets_sentinels_and_clusters() {
        let location = parse("unix:///run/redis.sock?db=2");
        assert_eq!(location.place, Place::Unix(PathBuf::from("/run/redis.sock")));
        assert_eq!(location.database, 2);
        assert_eq!(parse("redis+unix:///run/redis.sock?db=2"), location);
        let location = parse("redis+sentinel://:pw@a,b:1,c:2/mymaster/4");
        let hosts = vec![host("a", 26379), host("b", 1), host("c", 2)];
        let service = "mymaster".to_owned();
        assert_eq!(location.place, Place::Sentinel { hosts, service, login: None });
        assert_eq!(location.database, 4);
        let location = parse("redis://a:1,b:2?cluster=true");
        assert_eq!(location.place, Place::Cluster(vec![host("a", 1), host("b", 2)]));
    }

    #[test]
    fn what_cannot_be_read_says_what_is_wrong_and_not_the_password() {
        for (url, part) in [
            ("me:hunter2@cache", "no scheme"),
            ("http://me:hunter2@cache", "scheme that is not known"),
            ("redis://me:hunter2@", "names no host"),
            ("redis://me:hunter2@a,b", "several hosts"),
            ("redis://me:hunter2@a:port", "port"),
            ("redis://me:hunter2@a/x", "no number"),
            ("redis://me:hunter2%@a", "percent sign"),
            ("redis://me:hunter2@a/1?cluster=true", "a cluster has not"),
            ("redis://me:hunter2@a?ssl_ca_certs=x", "not TLS"),
            ("rediss://me:hunter2@a?insecure=true", "not supported"),
            ("rediss://me:hunter2@a?ssl_cert_reqs=none", "not supported"),
            ("redis+sentinel://me:hunter2@a", "names no service"),
            ("unix://me:hunter2@a", "names no socket"),
        ] {
            let error = RedisLocation::parse(url).unwrap_err().to_string();
            assert!(error.contains(part), "{url}: {error}");
            assert!(!error.contains("hunter2"), "{url}: {error}");
        }
    }

    #[test]
    fn never_prints_a_password() {
        for url in [
            "rediss://me:hunter2@cache:1/2",
            "redis+sentinel://me:hunter2@a/s?sentinel_password=hunter2",
            "redis://me:hunter2@a?cluster=true",
        ] {
            let location = parse(url);
            let shown = format!("{location} {location:?} {:?}", location.place);
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }
}
