//! Which operations of a document are wanted.

use super::{Options, operation::Operation};

/// The filters of an import. What is not named filters nothing.
pub struct Filter<'o> {
    options: &'o Options,
}

impl<'o> Filter<'o> {
    /// The filters that the options name.
    pub fn new(options: &'o Options) -> Filter<'o> {
        Filter { options }
    }

    /// Whether an operation is wanted.
    pub fn admits(&self, operation: &Operation<'_>) -> bool {
        let Options { tags, paths, methods, .. } = self.options;
        let same = |wanted: &String, given: &str| wanted.eq_ignore_ascii_case(given);
        let any = |list: &[String], fits: &dyn Fn(&String) -> bool| {
            list.is_empty() || list.iter().any(fits)
        };
        any(methods, &|method| same(method, operation.method))
            && any(paths, &|pattern| path_fits(pattern, operation.path))
            && any(tags, &|tag| operation.tags().any(|given| same(tag, given)))
    }
}

/// Whether a path fits a pattern. With a `*` the whole path must: `*` stands for a part without
/// slash, `**` for anything. Without one it must begin with the pattern's parts.
fn path_fits(pattern: &str, path: &str) -> bool {
    if pattern.contains('*') {
        return glob_fits(pattern, path);
    }
    let pattern = pattern.trim_end_matches('/');
    path.strip_prefix(pattern).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Linear for each star: the last one tried takes one letter more when what follows does not fit.
fn glob_fits(pattern: &str, path: &str) -> bool {
    let Some((literal, rest)) = pattern.split_once('*') else { return pattern == path };
    let Some(path) = path.strip_prefix(literal) else { return false };
    let (rest, crosses) = match rest.strip_prefix('*') {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    let ends = path.char_indices().map(|(at, _)| at).chain([path.len()]);
    let reach = if crosses { path.len() } else { path.find('/').unwrap_or(path.len()) };
    ends.take_while(|end| *end <= reach).any(|end| glob_fits(rest, &path[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_prefix_of_whole_parts_or_has_stars() {
        for (pattern, path, expected) in [
            ("/pets", "/pets", true),
            ("/pets", "/pets/{id}", true),
            ("/pets/", "/pets/{id}", true),
            ("/pets", "/petshops", false),
            ("/", "/anything/at/all", true),
            ("/pets/*", "/pets/{id}", true),
            ("/pets/*", "/pets/{id}/toys", false),
            ("/pets/**", "/pets/{id}/toys", true),
            ("/*/toys", "/pets/toys", true),
            ("**/toys", "/pets/{id}/toys", true),
            ("/pets*", "/petshops", true),
        ] {
            assert_eq!(path_fits(pattern, path), expected, "{pattern} {path}");
        }
    }
}
