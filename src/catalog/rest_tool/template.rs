//! The URL of a REST tool: where it leads, and the places in path and query that arguments fill.
//!
//! What is literal was normalised once, when the template was read. What is filled in is
//! percent-encoded whole, so that it stays within its segment or its value: an argument chooses
//! neither host nor path.

use std::borrow::Cow;

use url::{Host, Url};

/// A URL with places to fill.
#[derive(Clone, Debug)]
pub struct UrlTemplate {
    /// The scheme is `https`.
    pub tls: bool,
    /// The host: a name in small letters or an address, an IPv6 one without brackets.
    pub host: String,
    /// The port, also if the URL leaves it out.
    pub port: u16,
    /// Scheme, host and port: equal for two URLs exactly if they have the same origin.
    pub origin: String,
    /// The names of the parameters that stand in the query already.
    pub query_names: Vec<String>,
    path: Vec<Piece>,
    query: Option<Vec<Piece>>,
}

#[derive(Clone, Debug)]
enum Piece {
    Literal(String),
    /// The value of the argument with this name.
    Value(String),
}

/// Most placeholders of a URL.
const PLACEHOLDER_COUNT_MAX: usize = 64;

/// What begins or ends an expression of RFC 6570 that is more than a name.
const OPERATORS: &str = "+#./;?&=,!@|";

impl UrlTemplate {
    /// Reads a template, as `https://api.example.com/users/{id}?fields={fields}`. A fragment is
    /// left out.
    ///
    /// # Errors
    ///
    /// A sentence for whoever typed it: what is wrong and what would be right.
    pub fn parse(text: &str) -> Result<UrlTemplate, String> {
        let odd = |letter: char| letter.is_control() || letter.is_whitespace() || letter == '\\';
        if text.contains(odd) {
            return Err("The URL must have no spaces, control characters or backslashes".to_owned());
        }
        let text = text.split('#').next().unwrap_or_default();
        check_authority(text)?;
        let (marked, mark, names) = mark_placeholders(text)?;
        let url = Url::parse(&marked).map_err(|error| format!("This is no URL: {error}"))?;
        let tls = match url.scheme() {
            "https" => true,
            "http" => false,
            other => {
                return Err(format!("The URL must begin with http:// or https://, not {other}:"));
            }
        };
        if !url.username().is_empty() || url.password().is_some() {
            let text = "The URL must have no user or password; use the authentication fields";
            return Err(text.to_owned());
        }
        let port = url.port_or_known_default().filter(|port| *port != 0);
        let path = pieces(url.path(), &mark, &names);
        let query = url.query().map(|query| pieces(query, &mark, &names));
        let kept = path.iter().chain(query.iter().flatten());
        if kept.filter(|piece| matches!(piece, Piece::Value(_))).count() != names.len() {
            return Err("No placeholder may stand in a segment that `..` takes away".to_owned());
        }
        let query_names = url.query_pairs().map(|(name, _)| name.into_owned());
        Ok(UrlTemplate {
            tls,
            host: host_of(&url)?,
            port: port.ok_or("The port must be from 1 to 65535")?,
            origin: url.origin().ascii_serialization(),
            query_names: query_names.filter(|name| !name.contains(&mark)).collect(),
            path,
            query,
        })
    }

    /// The names of the arguments that it takes, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.path.iter().chain(self.query.iter().flatten()).filter_map(|piece| match piece {
            Piece::Literal(_) => None,
            Piece::Value(name) => Some(name.as_str()),
        })
    }

    /// Appends path and query with every place filled by the text that `value_of` gives for its
    /// name. Returns whether there is a query.
    ///
    /// # Errors
    ///
    /// A sentence that names the argument: it is missing, or would change the path.
    pub fn write<'v>(
        &self,
        out: &mut String,
        value_of: impl Fn(&str) -> Option<Cow<'v, str>>,
    ) -> Result<bool, String> {
        let start = out.len();
        for piece in &self.path {
            let before = out.len();
            write_piece(out, piece, &value_of)?;
            if let (Piece::Value(name), true) = (piece, before == out.len()) {
                return Err(format!(
                    "the argument {name:?} is part of the path: it must not be empty"
                ));
            }
        }
        // Servers and proxies take such a segment for a step, also where its dots are encoded.
        if out[start..].split('/').any(|segment| matches!(segment, "." | "..")) {
            let names: Vec<_> = self.names().collect();
            let names = names.join(", ");
            return Err(format!("no segment of the path may become . or .. (arguments {names})"));
        }
        let Some(query) = &self.query else { return Ok(false) };
        out.push('?');
        query.iter().try_for_each(|piece| write_piece(out, piece, &value_of))?;
        Ok(true)
    }
}

fn write_piece<'v>(
    out: &mut String,
    piece: &Piece,
    value_of: &impl Fn(&str) -> Option<Cow<'v, str>>,
) -> Result<(), String> {
    match piece {
        Piece::Literal(text) => out.push_str(text),
        Piece::Value(name) => {
            let value = value_of(name);
            let value = value.ok_or_else(|| format!("the argument {name:?} is missing"))?;
            encode(out, &value);
        }
    }
    Ok(())
}

/// Appends `text` with every byte percent-encoded that is not unreserved (RFC 3986 §2.3).
pub fn encode(out: &mut String, text: &str) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(byte as char);
        } else {
            out.push('%');
            out.push(DIGITS[usize::from(byte >> 4)] as char);
            out.push(DIGITS[usize::from(byte & 15)] as char);
        }
    }
}

/// Where the gateway goes is the operator's choice alone.
fn check_authority(text: &str) -> Result<(), String> {
    let (scheme, rest) =
        text.split_once("://").ok_or("The URL must begin with http:// or https://")?;
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if scheme.contains(['{', '}']) || authority.contains(['{', '}']) {
        return Err("No placeholder may stand in the scheme, the host or the port".to_owned());
    }
    // Readers of URLs skip further slashes: what stands behind them would be the host.
    if authority.is_empty() { Err("The URL needs a host".to_owned()) } else { Ok(()) }
}

/// Puts a word into the place of every placeholder that the reading of a URL leaves as it is.
/// Returns the text, what the words begin with, and the placeholders' names.
fn mark_placeholders(text: &str) -> Result<(String, String, Vec<String>), String> {
    let mut mark = "rw".to_owned();
    while text.contains(&mark) {
        mark.push('w');
    }
    let (mut marked, mut names, mut rest) = (String::new(), Vec::new(), text);
    while let Some(at) = rest.find(['{', '}']) {
        let behind = rest[at..].strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let (name, behind) = behind.ok_or("A brace of the URL has no partner")?;
        check_name(name)?;
        if names.len() == PLACEHOLDER_COUNT_MAX {
            return Err(format!("The URL has more than {PLACEHOLDER_COUNT_MAX} placeholders"));
        }
        marked.push_str(&rest[..at]);
        marked.push_str(&format!("{mark}{:02}", names.len()));
        names.push(name.to_owned());
        rest = behind;
    }
    marked.push_str(rest);
    Ok((marked, mark, names))
}

fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.contains(['{', '/', '?']) {
        return Err(format!("{{{name}}} in the URL is no placeholder; write {{name}}"));
    }
    if name.starts_with(|first| OPERATORS.contains(first)) || name.ends_with('*') {
        return Err(format!("{{{name}}} in the URL has an operator; only {{name}} is understood"));
    }
    Ok(())
}

/// Cuts a text at the words that stand for placeholders.
fn pieces(text: &str, mark: &str, names: &[String]) -> Vec<Piece> {
    let mut parts = text.split(mark);
    let first = parts.next().unwrap_or_default();
    let mut pieces = vec![Piece::Literal(first.to_owned())];
    for part in parts {
        let (index, literal) = part.split_at(2);
        let index: usize = index.parse().expect("two digits stand behind every mark");
        pieces.push(Piece::Value(names[index].clone()));
        pieces.push(Piece::Literal(literal.to_owned()));
    }
    pieces
}

fn host_of(url: &Url) -> Result<String, String> {
    match url.host() {
        Some(Host::Domain(name)) => Ok(name.to_owned()),
        Some(Host::Ipv4(address)) => Ok(address.to_string()),
        Some(Host::Ipv6(address)) => Ok(address.to_string()),
        None => Err("The URL needs a host".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filled(template: &str, values: &[(&str, &str)]) -> Result<String, String> {
        let template = UrlTemplate::parse(template)?;
        let value_of = |name: &str| {
            let found = values.iter().find(|(other, _)| *other == name);
            found.map(|(_, value)| Cow::Owned((*value).to_owned()))
        };
        let mut out = String::new();
        template.write(&mut out, value_of)?;
        Ok(out)
    }

    #[test]
    fn fills_path_and_query_and_encodes_every_reserved_byte() {
        let template = "https://Api.example.com/a b%20c/{id}.json?x=1&q={q}#top".replace(' ', "+");
        let got = filled(&template, &[("id", "a/b?c#d%"), ("q", "ü &=+")]);
        assert_eq!(got.unwrap(), "/a+b%20c/a%2Fb%3Fc%23d%25.json?x=1&q=%C3%BC%20%26%3D%2B");
        let template = UrlTemplate::parse("http://[::1]:8080").unwrap();
        assert_eq!((template.host.as_str(), template.port, template.tls), ("::1", 8080, false));
        assert_eq!(filled("http://a", &[]).unwrap(), "/");
        assert_eq!(filled("http://a/rw/rww/{b}", &[("b", "c")]).unwrap(), "/rw/rww/c");
    }

    #[test]
    fn refuses_templates_whose_host_an_argument_would_choose() {
        for template in [
            "https://{host}/x",
            "https:///{host}/x",
            "https:////{host}/x",
            "https:{host}/x",
            "https://a.{domain}/x",
            "https://a:{port}/x",
            "{scheme}://a/x",
            "{url}",
            "https://{user}@a/",
        ] {
            assert!(UrlTemplate::parse(template).is_err(), "{template}");
        }
    }

    #[test]
    fn refuses_what_is_no_template_and_says_why() {
        for (template, expected) in [
            ("ftp://a/x", "not ftp:"),
            ("https://u:p@a/x", "no user or password"),
            ("https://a/{", "no partner"),
            ("https://a/}", "no partner"),
            ("https://a/{}", "no placeholder"),
            ("https://a/{+x}", "operator"),
            ("https://a/x{?y*}", "no placeholder"),
            ("https://a/{y*}", "operator"),
            ("https://a/{{x}}", "no placeholder"),
            ("https://a/{x}/../y", "takes away"),
            ("https://a/x y", "no spaces"),
            ("https:///x", "needs a host"),
            ("https://a:0/x", "1 to 65535"),
        ] {
            let error = match UrlTemplate::parse(template) {
                Err(error) => error,
                Ok(parsed) => panic!("{template} was read as {parsed:?}"),
            };
            assert!(error.contains(expected), "{template}: {error}");
        }
    }

    #[test]
    fn refuses_values_that_would_change_the_path() {
        let template = "https://a/users/{id}/posts";
        for value in [".", "..", ""] {
            assert!(filled(template, &[("id", value)]).unwrap_err().contains("id"), "{value:?}");
        }
        assert!(filled("https://a/{x}{y}", &[("x", "."), ("y", ".")]).is_err());
        assert_eq!(filled("https://a/?q={q}", &[("q", "")]).unwrap(), "/?q=");
        let missing = filled(template, &[]).unwrap_err();
        assert_eq!(missing, "the argument \"id\" is missing");
    }

    fn decode(text: &str) -> String {
        let mut bytes = Vec::new();
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            match byte {
                b'%' => {
                    let digits = [rest.next().unwrap(), rest.next().unwrap()];
                    let digits = std::str::from_utf8(&digits).unwrap();
                    bytes.push(u8::from_str_radix(digits, 16).unwrap());
                }
                byte => bytes.push(byte),
            }
        }
        String::from_utf8(bytes).unwrap()
    }

    proptest! {
        /// Whatever is filled in, the other readers of the URL see the same segments and the same
        /// parameters, and decode what was given.
        #[test]
        fn what_is_filled_in_decodes_back_and_stays_in_its_place(
            id in "\\PC{1,12}", name in "[./%?#&a\u{0}\r\n\\\\]{1,6}", query in "\\PC{0,12}",
        ) {
            let template = "https://api.example.com/v1/{id}/x-{name}/y?a=1&q={query}&z=2";
            let values = [("id", &*id), ("name", &*name), ("query", &*query)];
            let Ok(target) = filled(template, &values) else {
                prop_assert!(id == "." || id == "..", "only dots are refused");
                return Ok(());
            };
            prop_assert!(target.bytes().all(|byte| byte.is_ascii_graphic()));
            let url = Url::parse(&format!("https://api.example.com{target}")).unwrap();
            prop_assert_eq!(url.origin().ascii_serialization(), "https://api.example.com");
            let segments: Vec<_> = url.path_segments().unwrap().map(decode).collect();
            prop_assert_eq!(segments, ["v1".to_owned(), id, format!("x-{name}"), "y".to_owned()]);
            let pairs: Vec<_> = url.query_pairs().map(|(k, v)| (k.into_owned(), v.into_owned())).collect();
            let expected = [("a", "1"), ("q", &*query), ("z", "2")];
            let expected: Vec<_> = expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
            prop_assert_eq!(pairs, expected);
            prop_assert!(url.fragment().is_none());
        }
    }
}
