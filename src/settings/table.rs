//! What a row of the table of settings is, and the macro that turns rows into a checked struct.

/// One setting, as the documentation shows it.
#[derive(Debug, Clone)]
pub struct Row {
    /// The heading it stands under.
    pub group: &'static str,
    /// The variable.
    pub name: &'static str,
    /// Other names that mean the same; the first that is set counts, after `name`.
    pub aliases: &'static [&'static str],
    /// What may be written, as a noun phrase with its bounds.
    pub form: String,
    /// What holds when nothing is written; empty for "unset".
    pub default: &'static str,
    /// What it does.
    pub sentence: &'static str,
    /// Whether the value is kept out of messages and logs.
    pub is_secret: bool,
}

/// Declares a group of settings: for each row a documented field, and the reading of it.
///
/// A row is `/// sentence`, then `field: Type, "NAME", [aliases], "default", check;`.
macro_rules! table {
    ($(
        $(#[doc = $group_doc:literal])+
        $group:ident $heading:literal {
            $(
                $(#[doc = $sentence:literal])+
                $field:ident: $kind:ty, $name:literal, [$($alias:literal),*], $default:literal,
                $check:expr;
            )+
        }
    )+) => {
        $(
            $(#[doc = $group_doc])+
            #[derive(Debug, Clone)]
            pub struct $group {
                $($(#[doc = $sentence])+ pub $field: $kind,)+
            }

            impl $group {
                /// Reads every setting of the group; what is wrong is noted in `reading`.
                pub(super) fn read(reading: &mut $crate::settings::raw::Reading) -> Option<$group> {
                    $(let $field = reading.take($name, &[$($alias),*], $default, &$check);)+
                    Some($group { $($field: $field?,)+ })
                }

                fn list(rows: &mut Vec<$crate::settings::table::Row>) {
                    $(rows.push($crate::settings::table::Row {
                        group: $heading,
                        name: $name,
                        aliases: &[$($alias),*],
                        form: $crate::settings::check::Check::form(&$check),
                        default: $default,
                        sentence: concat!($($sentence),+),
                        is_secret: $crate::settings::check::Check::is_secret(&$check),
                    });)+
                }
            }
        )+

        /// Lists every setting, in the order of the documentation.
        pub fn rows() -> Vec<$crate::settings::table::Row> {
            let mut rows = Vec::new();
            $($group::list(&mut rows);)+
            rows
        }
    };
}

pub(super) use table;
