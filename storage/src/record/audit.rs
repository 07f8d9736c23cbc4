//! Who made and changed a record, and whose it is: the parts that every entity has.

use super::text::text_enum;

/// Who made a record and who changed it last, by which way.
///
/// The store writes these as given, except where a deletion elsewhere changes a virtual server
/// (see [`crate::Mutation`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// When it was made, in microseconds since the epoch.
    pub created_at: i64,
    /// Who made it: an email or the subject of a token.
    pub created_by: Option<String>,
    /// The address that the request came from.
    pub created_from_ip: Option<String>,
    /// `ui`, `api`, `import` or `federation`.
    pub created_via: Option<String>,
    /// The client program that made it.
    pub created_user_agent: Option<String>,
    /// When it was changed last, in microseconds since the epoch.
    pub updated_at: i64,
    /// Who changed it last.
    pub modified_by: Option<String>,
    /// The address that the last change came from.
    pub modified_from_ip: Option<String>,
    /// `ui`, `api`, `import` or `federation`.
    pub modified_via: Option<String>,
    /// The client program that changed it last.
    pub modified_user_agent: Option<String>,
    /// The import that brought it.
    pub import_batch_id: Option<String>,
    /// The upstream that brought it, by name.
    pub federation_source: Option<String>,
    /// 1 when new, one more with each change; what [`crate::Mutation::Expect`] compares.
    pub version: i64,
}

impl Default for Audit {
    /// A first version, made at the epoch by nobody.
    fn default() -> Self {
        Audit {
            created_at: 0,
            created_by: None,
            created_from_ip: None,
            created_via: None,
            created_user_agent: None,
            updated_at: 0,
            modified_by: None,
            modified_from_ip: None,
            modified_via: None,
            modified_user_agent: None,
            import_batch_id: None,
            federation_source: None,
            version: 1,
        }
    }
}

/// Whose a record is and who may see it. The store keeps it and decides nothing by it, except
/// that a name must be unique only among the records of its own [`Visibility`] and owner.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ownership {
    /// The team that owns it.
    pub team_id: Option<String>,
    /// The user who owns it.
    pub owner_email: Option<String>,
    /// Who may see it.
    pub visibility: Visibility,
}

text_enum! {
    /// Who may see a record.
    #[derive(Default)]
    pub enum Visibility {
        /// Its owner alone.
        Private = "private",
        /// The members of its team.
        Team = "team",
        /// Everyone.
        #[default]
        Public = "public",
    }
}
