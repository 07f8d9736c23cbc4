//! Enumerations that are stored, and shown by the API, as one fixed word per variant.

/// A word that names no variant of the enumeration it was read as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownText {
    /// The enumeration, by its type name.
    pub kind: &'static str,
    /// The word that was read.
    pub text: String,
}

impl std::fmt::Display for UnknownText {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{:?} is not a {}", self.text, self.kind)
    }
}

impl std::error::Error for UnknownText {}

/// Declares an enumeration with one word per variant, and both ways between them.
macro_rules! text_enum {
    (
        $(#[$meta:meta])*
        pub enum $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $text:literal,)+ }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_meta])* $variant,)+ }

        impl $name {
            /// Every variant, in the order of declaration.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// The word that is stored and shown.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text,)+ }
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::record::UnknownText;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($text => Ok($name::$variant),)+
                    _ => Err($crate::record::UnknownText {
                        kind: stringify!($name),
                        text: text.to_owned(),
                    }),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str(self.as_str())
            }
        }
    };
}

pub(crate) use text_enum;

#[cfg(test)]
mod tests {
    use crate::record::{AuthType, Entity, Transport, Visibility};

    #[test]
    fn every_word_reads_back_as_its_variant() {
        for entity in Entity::ALL {
            assert_eq!(entity.as_str().parse(), Ok(*entity));
        }
        for transport in Transport::ALL {
            assert_eq!(transport.to_string().parse(), Ok(*transport));
        }
        for kind in AuthType::ALL {
            assert_eq!(kind.as_str().parse(), Ok(*kind));
        }
    }

    #[test]
    fn an_unknown_word_is_named_with_what_it_was_read_as() {
        let error = "secret".parse::<Visibility>().unwrap_err();
        assert_eq!(error.to_string(), "\"secret\" is not a Visibility");
    }
}
