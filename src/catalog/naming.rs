//! The names that clients call: made from the upstream's name and the tool's, by the contract's
//! rules, so that what users wrote into their configurations goes on to work.

use std::borrow::Cow;

use icu_normalizer::DecomposingNormalizerBorrowed;
use storage::record::{Ownership, Visibility};

/// The longest name that a tool or prompt may have, in characters: what MCP advises and what the
/// contract allows.
pub const NAME_LENGTH_MAX: usize = 128;

/// The circle within which a name is unique: that of the unique indexes of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Circle<'a> {
    /// Everyone's records.
    Everyone,
    /// The records of a team.
    Team(&'a str),
    /// One user's own records.
    User(&'a str),
}

impl<'a> Circle<'a> {
    /// The circle that a record of this ownership belongs to.
    pub fn of(ownership: &'a Ownership) -> Circle<'a> {
        match ownership.visibility {
            Visibility::Public => Circle::Everyone,
            Visibility::Team => Circle::Team(ownership.team_id.as_deref().unwrap_or_default()),
            Visibility::Private => {
                Circle::User(ownership.owner_email.as_deref().unwrap_or_default())
            }
        }
    }
}

/// Makes `text` fit for a name: lower-case ASCII words with `separator` between them.
///
/// Empty only if `text` has neither letter nor digit.
pub fn slug(text: &str, separator: &str) -> String {
    let plain = words(text).join(separator);
    if !plain.is_empty() {
        return plain;
    }
    // The contract leaves nothing of a name without any Latin letter, and two such tools would
    // collide on that nothing; written in Latin they stay apart.
    words(&deunicode::deunicode(text)).join(separator)
}

/// The name that clients call: `slug(gateway)`, the separator, the tool's or prompt's own slug.
///
/// # Errors
///
/// The reason why there is no such name: nothing to make it of, or longer than
/// [`NAME_LENGTH_MAX`].
pub fn offered_name(gateway: &str, separator: &str, own: &str) -> Result<String, String> {
    if own.is_empty() {
        return Err("its name has neither letter nor digit".to_owned());
    }
    let name = format!("{gateway}{separator}{own}");
    match name.len() {
        length if length > NAME_LENGTH_MAX => Err(format!(
            "its name {name} would have {length} characters, and {NAME_LENGTH_MAX} are allowed; \
             a shorter gateway name makes room"
        )),
        _ => Ok(name),
    }
}

/// The name that clients call what is of no upstream: its own slug.
///
/// # Errors
///
/// As [`offered_name`].
pub fn own_name(own: &str) -> Result<String, String> {
    match own.len() {
        0 => Err("its name has neither letter nor digit".to_owned()),
        length if length > NAME_LENGTH_MAX => Err(format!(
            "its name {own} has {length} characters, and {NAME_LENGTH_MAX} are allowed"
        )),
        _ => Ok(own.to_owned()),
    }
}

/// The name for people: the words of a technical name, each with a capital letter.
pub fn display_name(technical: &str) -> String {
    let spaced = technical.replace(['_', '-', '.'], " ");
    let mut title = String::with_capacity(spaced.len());
    for word in spaced.split_whitespace() {
        if !title.is_empty() {
            title.push(' ');
        }
        let mut after_letter = false;
        for letter in word.chars() {
            match after_letter {
                true => title.extend(letter.to_lowercase()),
                false => title.extend(letter.to_uppercase()),
            }
            after_letter = letter.is_alphabetic();
        }
    }
    title
}

/// The words of `text` in lower-case ASCII; a word that has no ASCII form is left out.
fn words(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let letters: Vec<char> = lower.chars().collect();
    let mut words = Vec::new();
    let mut word = String::new();
    for (index, letter) in letters.iter().enumerate() {
        if letter.is_alphanumeric() {
            word.push(*letter);
        } else if !is_contraction(&letters, index) {
            words.push(std::mem::take(&mut word));
        }
    }
    words.push(word);
    words.iter().map(|word| ascii(word)).filter(|word| !word.is_empty()).collect()
}

/// Whether an apostrophe stands between letters, as in `don't`.
fn is_contraction(letters: &[char], index: usize) -> bool {
    let is_letter = |at: Option<usize>| {
        at.and_then(|at| letters.get(at)).is_some_and(|letter| letter.is_alphanumeric())
    };
    matches!(letters[index], '\'' | '\u{2019}')
        && is_letter(index.checked_sub(1))
        && is_letter(Some(index + 1))
}

/// The ASCII letters and digits that are left when accents fall off.
fn ascii(word: &str) -> String {
    const NFKD: DecomposingNormalizerBorrowed<'static> = DecomposingNormalizerBorrowed::new_nfkd();
    let spelled = word.replace('æ', "ae").replace('ß', "ss").replace('ø', "o");
    let plain: Cow<'_, str> = NFKD.normalize(&spelled);
    let letters = plain.chars().filter(char::is_ascii_alphanumeric);
    letters.map(|letter| letter.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn slugs_are_those_of_the_contract() {
        let table = [
            ("fast_time", "fast-time"),
            ("get_system_time", "get-system-time"),
            ("Hello World", "hello-world"),
            ("Test-Case_123", "test-case-123"),
            ("Café & Restaurant", "cafe-restaurant"),
            ("user@example.com", "user-example-com"),
            ("Don't Stop", "dont-stop"),
            ("It\u{2019}s Working", "its-working"),
            ("rock 'n' roll", "rock-n-roll"),
            ("", ""),
            ("   ", ""),
            ("---test---", "test"),
            ("Multiple   Spaces", "multiple-spaces"),
            ("Naïve résumé", "naive-resume"),
            ("Zürich", "zurich"),
            ("Straße Ærø", "strasse-aero"),
            ("getUserName", "getusername"),
            ("a.b/c:d", "a-b-c-d"),
            ("x² ½", "x2-12"),
            ("ﬁle", "file"),
        ];
        for (text, expected) in table {
            assert_eq!(slug(text, "-"), expected, "{text:?}");
        }
    }

    #[test]
    fn a_name_without_latin_letters_still_has_a_slug() {
        assert_eq!(slug("天气", "-"), "tian-qi");
        assert_ne!(slug("天气", "-"), slug("翻译", "-"));
        assert_eq!(slug("天气 now", "-"), "now");
        assert_eq!(slug("!?", "-"), "");
    }

    #[test]
    fn every_separator_of_the_setting_joins_words_and_names() {
        for (separator, expected) in [
            ("-", "fast-time-get-system-time"),
            ("--", "fast--time--get--system--time"),
            ("_", "fast_time_get_system_time"),
            (".", "fast.time.get.system.time"),
        ] {
            let gateway = slug("fast_time", separator);
            let own = slug("get_system_time", separator);
            assert_eq!(offered_name(&gateway, separator, &own).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn a_name_of_128_characters_is_the_longest() {
        let own = "t".repeat(NAME_LENGTH_MAX - 3);
        assert_eq!(offered_name("gw", "-", &own).unwrap().len(), NAME_LENGTH_MAX);
        let refused = offered_name("gw", "-", &(own + "t")).unwrap_err();
        assert!(refused.contains("129 characters"), "{refused}");
        assert!(offered_name("gw", "-", "").is_err());
    }

    #[test]
    fn display_names_are_title_cased_words() {
        for (technical, expected) in [
            ("duckduckgo_search", "Duckduckgo Search"),
            ("weather-api", "Weather Api"),
            ("get_user.profile", "Get User Profile"),
            ("UPPER_CASE", "Upper Case"),
            ("mixed_Case-Name.test", "Mixed Case Name Test"),
            ("multiple___underscores", "Multiple Underscores"),
            ("x2y", "X2Y"),
            ("", ""),
        ] {
            assert_eq!(display_name(technical), expected, "{technical:?}");
        }
    }

    #[test]
    fn a_circle_is_that_of_the_visibility() {
        let mut ownership = Ownership {
            team_id: Some("t".to_owned()),
            owner_email: Some("o".to_owned()),
            ..Ownership::default()
        };
        assert_eq!(Circle::of(&ownership), Circle::Everyone);
        ownership.visibility = Visibility::Team;
        assert_eq!(Circle::of(&ownership), Circle::Team("t"));
        ownership.visibility = Visibility::Private;
        assert_eq!(Circle::of(&ownership), Circle::User("o"));
    }

    /// Numbers that look random; the seed is named by whatever fails.
    fn numbers(seed: u64) -> impl FnMut(usize) -> usize {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        move |below| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below as u64) as usize
        }
    }

    /// Letters of many scripts, signs, accents, blanks and every separator.
    const LETTERS: &str = "azAZ09_-.'’ /:@\u{301}éßæøÑİıﬁ½天气日本عبשלодž\u{200d}🙂\t\n";

    fn text(number: &mut impl FnMut(usize) -> usize) -> String {
        let letters: Vec<char> = LETTERS.chars().collect();
        (0..number(12)).map(|_| letters[number(letters.len())]).collect()
    }

    #[test]
    fn every_slug_is_ascii_words_between_separators_and_its_own_slug() {
        for seed in 0..5000 {
            let mut number = numbers(seed);
            let text = text(&mut number);
            let separator = ["-", "--", "_", "."][number(4)];
            let slug = slug(&text, separator);
            let is_word = |word: &str| {
                !word.is_empty()
                    && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
            };
            assert!(
                slug.is_empty() || slug.split(separator).all(is_word),
                "{text:?} became {slug:?}, seed {seed}"
            );
            assert_eq!(super::slug(&slug, separator), slug, "{text:?}, seed {seed}");
            // What is upper-case or padded is the same name.
            let padded = format!("  {text}- ");
            assert_eq!(super::slug(&padded, separator), slug, "{text:?}, seed {seed}");
        }
    }

    #[test]
    fn slugs_of_two_separators_differ_in_nothing_but_these() {
        for seed in 0..2000 {
            let text = text(&mut numbers(seed));
            let plain = slug(&text, "-");
            for separator in ["--", "_", "."] {
                let other = slug(&text, separator);
                assert_eq!(other.replace(separator, "-"), plain, "{text:?}, seed {seed}");
            }
        }
    }

    proptest! {
        /// Names that differ in their words never become one, and a name is never too long.
        #[test]
        fn names_of_other_words_stay_apart_and_within_the_bound(
            one in prop::collection::vec("[a-z0-9]{1,12}", 1..12),
            other in prop::collection::vec("[a-z0-9]{1,12}", 1..12),
            separator in prop::sample::select(vec!["-", "--", "_", "."]),
        ) {
            let named = |words: &[String]| {
                offered_name("gateway", separator, &slug(&words.join(" "), separator))
            };
            let (a, b) = (named(&one), named(&other));
            for name in [&a, &b].into_iter().flatten() {
                prop_assert!(name.len() <= NAME_LENGTH_MAX);
            }
            prop_assert!(one == other || a.is_err() || a != b);
        }
    }
}
