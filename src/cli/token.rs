//! `ringway token`: makes a token, or shows what is in one.
//!
//! It takes what ContextForge's `create_jwt_token` takes and prints the token and nothing else, so
//! that scripts can say `TOKEN=$(ringway token -u me@example.com)`.

use std::fmt;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::Algorithm;
use serde_json::{Map, Value, json};

use crate::auth::token::peek;
use crate::auth::{Fault, Issuer, KeyError, Rules};
use crate::settings::{Secret, Settings};

/// Makes a token for a user or with given claims, or shows what is in one.
#[derive(Debug, Default, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["username", "data", "decode"]))]
pub struct TokenArgs {
    /// The user: an address, which becomes the claim `sub`.
    #[arg(short, long, value_name = "EMAIL")]
    pub username: Option<String>,
    /// The claims, as a JSON object or as `name=value,name=value`.
    #[arg(short, long, value_name = "CLAIMS")]
    pub data: Option<String>,
    /// Show the claims of this token, and whether it is good here.
    #[arg(long, value_name = "TOKEN")]
    pub decode: Option<String>,
    /// How many minutes the token lives; 0 for ever. Default: the setting TOKEN_EXPIRY.
    #[arg(short, long, value_name = "MINUTES")]
    pub exp: Option<u32>,
    /// Sign with this secret. Default: JWT_SECRET_KEY, or the one in the data folder.
    #[arg(short, long, value_parser = parse_secret)]
    pub secret: Option<Secret>,
    /// Sign with this algorithm. Default: the setting JWT_ALGORITHM.
    #[arg(long, value_name = "ALGORITHM")]
    pub algo: Option<Algorithm>,
    /// Show the claims on the standard error as well.
    #[arg(long)]
    pub pretty: bool,
    /// Make the user an administrator.
    #[arg(long, conflicts_with = "decode")]
    pub admin: bool,
    /// The ids of the teams that the token acts for, separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "IDS", conflicts_with = "decode")]
    pub teams: Option<Vec<String>>,
    /// The permissions that the token carries, separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "PERMISSIONS", conflicts_with = "decode")]
    pub scopes: Option<Vec<String>>,
    /// The user's full name.
    #[arg(long, value_name = "NAME", conflicts_with = "decode")]
    pub full_name: Option<String>,
}

/// Why there is no token to print.
#[derive(Debug)]
pub enum TokenError {
    /// The claims of `--data` cannot be read.
    Data(String),
    /// There is no key to sign or check with.
    Key(KeyError),
    /// The token to show is none.
    Unreadable,
    /// The token was shown, and is not good here.
    NotGood(Fault),
    /// The output cannot be written.
    Output(std::io::Error),
}

impl fmt::Display for TokenError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TokenError::Data(problem) => {
                write!(out, "--data {problem}; give a JSON object or name=value,name=value")
            }
            TokenError::Key(error) => error.fmt(out),
            TokenError::Unreadable => out.write_str("That is no token: its claims cannot be read"),
            TokenError::NotGood(fault) => {
                write!(
                    out,
                    "The token is not good here: {}",
                    crate::auth::AuthError::Invalid(*fault)
                )
            }
            TokenError::Output(error) => write!(out, "The output cannot be written: {error}"),
        }
    }
}

impl std::error::Error for TokenError {}

impl From<KeyError> for TokenError {
    fn from(error: KeyError) -> TokenError {
        TokenError::Key(error)
    }
}

/// Writes the token to `out` and, with `--pretty`, its claims to `notes`.
///
/// # Errors
///
/// [`TokenError`]: print it to the standard error and exit with 1.
pub fn run(
    args: &TokenArgs,
    settings: &Settings,
    out: &mut impl Write,
    notes: &mut impl Write,
) -> Result<(), TokenError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    match &args.decode {
        Some(token) => show(args, settings, token, now, out),
        None => make(args, settings, now, out, notes),
    }
}

fn make(
    args: &TokenArgs,
    settings: &Settings,
    now: u64,
    out: &mut impl Write,
    notes: &mut impl Write,
) -> Result<(), TokenError> {
    let claims = claims(args, settings, now)?;
    let (algorithm, secret) = key(args, settings);
    let token = Issuer::load(settings, algorithm, secret.as_ref())?.issue(&claims)?;
    if args.pretty {
        writeln!(notes, "{}", pretty(&claims)).map_err(TokenError::Output)?;
    }
    writeln!(out, "{token}").map_err(TokenError::Output)
}

fn show(
    args: &TokenArgs,
    settings: &Settings,
    token: &str,
    now: u64,
    out: &mut impl Write,
) -> Result<(), TokenError> {
    let claims = peek(token).ok_or(TokenError::Unreadable)?;
    writeln!(out, "{}", pretty(&claims)).map_err(TokenError::Output)?;
    let (algorithm, secret) = key(args, settings);
    let rules = Rules::for_algorithm(settings, algorithm, secret.as_ref())?;
    rules.verify(token.as_bytes(), now).map(|_| ()).map_err(TokenError::NotGood)
}

fn key(args: &TokenArgs, settings: &Settings) -> (Algorithm, Option<Secret>) {
    let algorithm = args.algo.unwrap_or(settings.auth.algorithm);
    (algorithm, args.secret.clone())
}

/// An empty secret would sign, and everybody knows it.
fn parse_secret(text: &str) -> Result<Secret, &'static str> {
    if text.is_empty() { Err("a secret is not empty") } else { Ok(Secret::new(text)) }
}

fn pretty(claims: &Map<String, Value>) -> String {
    serde_json::to_string_pretty(claims).expect("a map with text for keys is JSON")
}

/// The claims to sign: those that were given, then those of the user, then ours where none stands.
fn claims(
    args: &TokenArgs,
    settings: &Settings,
    now: u64,
) -> Result<Map<String, Value>, TokenError> {
    let mut claims = match &args.data {
        Some(data) => parse_data(data)?,
        None => Map::new(),
    };
    if let Some(username) = &args.username {
        claims.insert("username".into(), json!(username));
    }
    if let Some(username) = claims.get("username").cloned() {
        claims.entry("sub").or_insert(username);
    }
    add_rights(&mut claims, args);
    add_time(&mut claims, args, settings, now);
    claims.entry("iss").or_insert_with(|| json!(settings.auth.issuer));
    claims.entry("aud").or_insert_with(|| json!(settings.auth.audience));
    claims.entry("jti").or_insert_with(|| json!(uuid::Uuid::new_v4().to_string()));
    Ok(claims)
}

/// Adds what a login's token would have, if any of it was asked for.
fn add_rights(claims: &mut Map<String, Value>, args: &TokenArgs) {
    if args.admin || args.full_name.is_some() {
        let user = json!({
            "email": claims.get("sub"),
            "full_name": args.full_name.as_deref().unwrap_or("CLI User"),
            "is_admin": args.admin,
            "auth_provider": "cli",
        });
        claims.insert("user".into(), user);
    }
    if args.admin || args.teams.is_some() {
        // `null` opens every team to an administrator (contract §4).
        claims.insert("teams".into(), json!(args.teams));
    }
    if let Some(permissions) = &args.scopes {
        let scopes = json!({
            "server_id": null,
            "permissions": permissions,
            "ip_restrictions": [],
            "time_restrictions": {},
        });
        claims.insert("scopes".into(), scopes);
    }
}

fn add_time(claims: &mut Map<String, Value>, args: &TokenArgs, settings: &Settings, now: u64) {
    claims.entry("iat").or_insert_with(|| json!(now));
    let lifetime = match args.exp {
        Some(minutes) => u64::from(minutes) * 60,
        None if claims.contains_key("exp") => return,
        None => settings.auth.token_lifetime.as_secs(),
    };
    if lifetime == 0 {
        claims.remove("exp");
    } else {
        claims.insert("exp".into(), json!(now + lifetime));
    }
}

/// Reads a JSON object, or `name=value` pairs whose values are texts.
fn parse_data(text: &str) -> Result<Map<String, Value>, TokenError> {
    let text = text.trim();
    if text.starts_with('{') {
        return serde_json::from_str(text)
            .map_err(|error| TokenError::Data(format!("is not a JSON object ({error})")));
    }
    text.split(',')
        .map(|pair| {
            let (name, value) = pair
                .split_once('=')
                .filter(|(name, _)| !name.trim().is_empty())
                .ok_or_else(|| TokenError::Data(format!("holds {pair:?}, which is no pair")))?;
            Ok((name.trim().to_owned(), json!(value.trim())))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::auth::token::tests::settings;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: TokenArgs,
    }

    fn parse(words: &str) -> Result<TokenArgs, clap::Error> {
        let words = std::iter::once("token").chain(words.split_whitespace());
        Line::try_parse_from(words).map(|line| line.args)
    }

    fn print(words: &str) -> Result<(String, String), TokenError> {
        let (mut out, mut notes) = (Vec::new(), Vec::new());
        run(&parse(words).unwrap(), &settings(&[]), &mut out, &mut notes)?;
        Ok((String::from_utf8(out).unwrap(), String::from_utf8(notes).unwrap()))
    }

    fn claims_of(words: &str) -> Value {
        Value::Object(claims(&parse(words).unwrap(), &settings(&[]), 1000).unwrap())
    }

    #[test]
    fn prints_a_token_that_the_gateway_takes_and_nothing_else() {
        let (out, notes) = print("--username admin@example.com --exp 60").unwrap();
        assert_eq!(notes, "");
        let token = out.strip_suffix('\n').unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let caller = Rules::load(&settings(&[])).unwrap().verify(token.as_bytes(), now).unwrap();
        assert!(caller.is_admin);
        assert_eq!(caller.email, "admin@example.com");
        assert!(caller.token_id.is_some());
        assert!(caller.expires_at.unwrap().abs_diff(now + 3600) < 60);
    }

    #[test]
    fn makes_the_minimal_claims_of_a_user() {
        let mut claims = claims_of("-u a@b -e 1");
        claims["jti"].take();
        let expected = json!({
            "username": "a@b", "sub": "a@b", "iat": 1000, "exp": 1060,
            "iss": "mcpgateway", "aud": "mcpgateway-api", "jti": null,
        });
        assert_eq!(claims, expected);
    }

    #[test]
    fn a_lifetime_of_zero_has_no_end_and_none_at_all_a_week() {
        assert_eq!(claims_of("-u a -e 0").get("exp"), None);
        assert_eq!(claims_of("-u a")["exp"], 1000 + 7 * 24 * 3600);
        assert_eq!(claims_of(r#"-d {"sub":"a","exp":5}"#)["exp"], 5);
        assert_eq!(claims_of(r#"-d {"sub":"a","exp":5} -e 0"#).get("exp"), None);
    }

    #[test]
    fn takes_claims_as_json_or_as_pairs() {
        let claims = claims_of(r#"-d {"sub":"a","n":1,"iss":"other"}"#);
        assert_eq!((&claims["n"], &claims["iss"]), (&json!(1), &json!("other")));
        let claims = claims_of("-d username=a,role=x=y");
        assert_eq!((&claims["sub"], &claims["role"]), (&json!("a"), &json!("x=y")));
        for wrong in ["-d {", "-d [1]", "-d a", "-d =b"] {
            let error = claims_error(wrong);
            assert!(error.starts_with("--data "), "{error}");
        }
    }

    fn claims_error(words: &str) -> String {
        claims(&parse(words).unwrap(), &settings(&[]), 0).unwrap_err().to_string()
    }

    #[test]
    fn gives_rights_as_a_login_would() {
        let claims = claims_of("-u a --admin");
        assert_eq!(claims["user"]["is_admin"], true);
        assert_eq!(claims["teams"], Value::Null);
        let claims = claims_of("-u a --teams t1,t2 --scopes tools.read,tools.execute");
        assert_eq!(claims["teams"], json!(["t1", "t2"]));
        assert_eq!(claims["scopes"]["permissions"], json!(["tools.read", "tools.execute"]));
        assert_eq!(claims.get("user"), None);
    }

    #[test]
    fn shows_the_claims_of_a_token_and_says_when_it_is_not_good() {
        let (token, _) = print("-u a@b").unwrap();
        let (shown, _) = print(&format!("--decode {token}")).unwrap();
        assert!(shown.contains("\"sub\": \"a@b\""), "{shown}");
        let error = print(&format!("--secret other --decode {token}")).unwrap_err();
        assert!(matches!(error, TokenError::NotGood(Fault::Signature)), "{error}");
        assert!(matches!(print("--decode a.b.c"), Err(TokenError::Unreadable)));
    }

    #[test]
    fn signs_with_another_secret_or_algorithm_when_told() {
        let (token, _) = print("-u a --secret other --algo HS512").unwrap();
        assert!(print(&format!("--secret other --algo HS512 --decode {token}")).is_ok());
        assert!(print(&format!("--decode {token}")).is_err());
        assert!(matches!(print("-u a --algo RS256"), Err(TokenError::Key(KeyError::Unset { .. }))));
    }

    #[test]
    fn neither_takes_an_empty_secret_nor_prints_one() {
        assert!(Line::try_parse_from(["token", "-u", "a", "--secret", ""]).is_err());
        assert!(!format!("{:?}", parse("-u a --secret hunter2").unwrap()).contains("hunter2"));
    }

    #[test]
    fn shows_the_claims_beside_the_token_only_when_asked() {
        let (out, notes) = print("-u a --pretty").unwrap();
        assert_eq!(out.lines().count(), 1);
        assert!(notes.contains("\"sub\": \"a\""), "{notes}");
    }

    #[test]
    fn wants_exactly_one_of_user_claims_and_token() {
        assert!(parse("").is_err());
        assert!(parse("-u a -d b=c").is_err());
        assert!(parse("-u a --decode x").is_err());
        assert!(parse("-u a").is_ok());
    }
}
