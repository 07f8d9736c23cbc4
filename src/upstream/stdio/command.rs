//! The command of a child: its arguments, and the little of our environment that it gets.

use std::{collections::BTreeMap, ffi::OsString, process::Command};

/// Variables that a child inherits: what programs need to find themselves, their files, the time
/// and the way out. Everything else of ours stays with us, our secrets above all; a child that
/// needs more gets it from its upstream's own environment.
const INHERITED: [&str; 18] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LANGUAGE",
    "TMPDIR",
    "TZ",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// Beginnings of the names of further ones.
const INHERITED_PREFIXES: [&str; 2] = ["LC_", "XDG_"];

/// Splits a command line into the program and its arguments, as a shell would: blanks separate,
/// single and double quotes and backslashes take them together. There is no shell behind it:
/// variables, pipes and patterns stand for themselves.
///
/// # Errors
///
/// A sentence for whoever typed it.
pub fn split(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            blank if blank.is_ascii_whitespace() => words.extend(word.take()),
            '\'' => quoted(&mut letters, '\'', word.get_or_insert_default())?,
            '"' => quoted(&mut letters, '"', word.get_or_insert_default())?,
            '\\' => {
                let next = letters.next().ok_or("The command ends with a lone backslash")?;
                word.get_or_insert_default().push(next);
            }
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    check(&words)?;
    Ok(words)
}

/// Appends what stands up to the closing quote. In double quotes a backslash hides the next quote
/// or backslash (and what else a POSIX shell lets it hide); in single quotes nothing is special.
fn quoted(letters: &mut std::str::Chars<'_>, quote: char, word: &mut String) -> Result<(), String> {
    while let Some(letter) = letters.next() {
        match letter {
            closing if closing == quote => return Ok(()),
            '\\' if quote == '"' => match letters.next() {
                Some(hidden @ ('"' | '\\' | '$' | '`')) => word.push(hidden),
                Some(other) => word.extend(['\\', other]),
                None => break,
            },
            other => word.push(other),
        }
    }
    Err(format!("The command has an opening {quote} without a closing one"))
}

/// Checks that a command can be run at all.
///
/// # Errors
///
/// A sentence for whoever typed it.
pub fn check(words: &[String]) -> Result<(), String> {
    if words.first().is_none_or(|program| program.is_empty()) {
        return Err("The command needs a program".to_owned());
    }
    if words.iter().any(|word| word.contains('\0')) {
        return Err("The command must have no NUL characters".to_owned());
    }
    Ok(())
}

/// Makes the command of a child.
pub(super) fn command(words: &[String], environment: &BTreeMap<String, String>) -> Command {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).env_clear().envs(inherited(std::env::vars_os())).envs(environment);
    command
}

/// Chooses what a child inherits of `ours`.
fn inherited(
    ours: impl Iterator<Item = (OsString, OsString)>,
) -> impl Iterator<Item = (OsString, OsString)> {
    ours.filter(|(name, _)| {
        name.to_str().is_some_and(|name| {
            INHERITED.contains(&name)
                || INHERITED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_as_a_shell_would() {
        let table = [
            ("npx -y server stdio", "npx|-y|server|stdio"),
            ("  a\t b\n", "a|b"),
            ("a 'b c' \"d e\"", "a|b c|d e"),
            ("a b' 'c\" \"d", "a|b c d"),
            (r#"a "x\"y\\z\n$" 'x\"y'"#, r#"a|x"y\z\n$|x\"y"#),
            (r"a b\ c \'d\'", "a|b c|'d'"),
            ("a '' \"\"", "a||"),
            ("a | b && $HOME *", "a|||b|&&|$HOME|*"),
        ];
        for (line, expected) in table {
            assert_eq!(split(line).unwrap().join("|"), expected, "{line}");
        }
    }

    #[test]
    fn says_what_is_wrong_with_a_command() {
        let table = [
            ("", "a program"),
            ("  ", "a program"),
            ("''", "a program"),
            ("a 'b", "opening '"),
            ("a \"b\\", "opening \""),
            ("a \\", "lone backslash"),
            ("a \0", "NUL"),
        ];
        for (line, expected) in table {
            let text = split(line).unwrap_err();
            assert!(text.contains(expected), "{line}: {text}");
        }
    }

    #[test]
    fn hands_on_none_of_our_secrets() {
        let names = [
            "PATH",
            "LC_ALL",
            "XDG_CACHE_HOME",
            "https_proxy",
            "JWT_SECRET_KEY",
            "AUTH_ENCRYPTION_SECRET",
            "DATABASE_URL",
            "RINGWAY_TOKEN",
            "LD_PRELOAD",
            "AWS_SECRET_ACCESS_KEY",
        ];
        let ours = names.map(|name| (OsString::from(name), OsString::from("x")));
        let kept: Vec<_> = inherited(ours.into_iter()).map(|(name, _)| name).collect();
        assert_eq!(kept, ["PATH", "LC_ALL", "XDG_CACHE_HOME", "https_proxy"]);
    }

    #[test]
    fn the_upstreams_own_environment_wins() {
        let words = ["env".to_owned()];
        let own = BTreeMap::from([("PATH".to_owned(), "/own".to_owned())]);
        let command = command(&words, &own);
        let path = command.get_envs().find(|(name, _)| *name == "PATH");
        assert_eq!(path.unwrap().1.unwrap(), "/own");
    }
}
