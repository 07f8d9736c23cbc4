//! Where a token stands in a request: bytes of a header in, bytes of the token out.

use crate::web::cookie::find;

/// The cookies that may hold a token, the more telling first.
const COOKIES: [&str; 2] = ["jwt_token", "access_token"];

/// Finds the token in the value of `Authorization`; `None` if its scheme is not `Bearer`, in
/// whatever case (RFC 9110 §11.1), or if nothing follows.
pub fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(7)?;
    if !scheme.eq_ignore_ascii_case(b"Bearer ") {
        return None;
    }
    Some(rest.trim_ascii()).filter(|token| !token.is_empty())
}

/// Finds the token in the value of `Cookie` (RFC 6265 §4.2).
pub fn cookie(value: &[u8]) -> Option<&[u8]> {
    COOKIES.iter().find_map(|name| find(value, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_bearer_token_whatever_the_case_of_the_scheme() {
        for value in ["Bearer abc", "bearer abc", "BEARER   abc "] {
            assert_eq!(bearer(value.as_bytes()), Some(b"abc".as_slice()), "{value}");
        }
    }

    #[test]
    fn takes_no_other_scheme_for_a_bearer() {
        for value in
            ["", "Bearer", "Bearer ", "Bearer   ", "Basic YTpi", "Bearerabc", "abc", "ébéarer "]
        {
            assert_eq!(bearer(value.as_bytes()), None, "{value}");
        }
    }

    #[test]
    fn finds_the_cookie_among_others() {
        let found = |text: &'static str| cookie(text.as_bytes()).map(|token| token.to_vec());
        assert_eq!(found("a=b; jwt_token=x.y.z; c=d"), Some(b"x.y.z".to_vec()));
        assert_eq!(found("access_token=1;jwt_token=\"2\""), Some(b"2".to_vec()));
        assert_eq!(found("access_token=1"), Some(b"1".to_vec()));
        assert_eq!(found("xjwt_token=1; jwt_tokens=2; jwt_token=; jwt_token"), None);
    }
}
