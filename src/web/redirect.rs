//! Where a browser may be sent on to: a place of our own and nowhere else.

/// The longest target.
const TARGET_SIZE_MAX: usize = 2048;

/// Gives back a target that came from outside if it is a path of our own, with a query or a
/// fragment perhaps; `None` for everything that a browser could take for another site.
///
/// Browsers take a backslash for a slash and leave out tabs and line ends, so neither may be there
/// at all.
pub fn local(target: &str) -> Option<&str> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
    let is_path = target.starts_with('/') && !target.starts_with("//");
    let is_local =
        is_path && target.len() <= TARGET_SIZE_MAX && target.bytes().all(is_plain) && stays(target);
    is_local.then_some(target)
}

/// Whether a browser that follows the target stays where it is.
fn stays(target: &str) -> bool {
    let Ok(base) = url::Url::parse("https://here.invalid/a/b") else { return false };
    base.join(target)
        .is_ok_and(|url| url.origin() == base.origin() && !url.path().starts_with("//"))
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        /// Nothing that is let through leads a browser elsewhere, from whatever page it starts.
        #[test]
        fn what_it_takes_stays_here(target in "[/\\\\.:@a-e?#%\t\r\n ]{0,12}") {
            if let Some(target) = local(&target) {
                let page = url::Url::parse("https://here.example:8443/x/y?z").unwrap();
                let reached = page.join(target).unwrap();
                proptest::prop_assert_eq!(reached.origin(), page.origin());
            }
        }
    }

    #[test]
    fn takes_paths_of_our_own() {
        for target in ["/", "/admin", "/a/b?c=d&next=//x#e", "/a//b", "/%2f%2fevil.example"] {
            assert_eq!(local(target), Some(target));
        }
    }

    #[test]
    fn takes_nothing_that_leads_elsewhere() {
        for target in [
            "",
            "admin",
            "https://evil.example",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            " //evil.example",
            "/ /evil.example",
            "/..//evil.example",
            "/.//evil.example",
            "javascript:alert(1)",
            "/\u{2044}evil.example",
            "/a\r\nSet-Cookie: b=c",
            &format!("/{}", "a".repeat(TARGET_SIZE_MAX)),
        ] {
            assert_eq!(local(target), None, "{target:?}");
        }
    }
}
