//! Who changes a record, from where and when: what the audit fields are filled with.

use storage::record::Audit;

/// Who changes records in one request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Author {
    /// When, in microseconds since the epoch.
    pub at: i64,
    /// The user's email.
    pub email: Option<String>,
    /// The address that the request came from.
    pub ip: Option<String>,
    /// The client program.
    pub user_agent: Option<String>,
}

impl Author {
    /// The audit fields of a record made now, by way of `via`.
    pub fn made(&self, via: &str) -> Audit {
        Audit {
            created_at: self.at,
            created_by: self.email.clone(),
            created_from_ip: self.ip.clone(),
            created_via: Some(via.to_owned()),
            created_user_agent: self.user_agent.clone(),
            updated_at: self.at,
            ..Audit::default()
        }
    }

    /// Notes in `audit` that the record is changed now, by way of `via`.
    pub fn change(&self, audit: &mut Audit, via: &str) {
        audit.updated_at = self.at;
        audit.modified_by = self.email.clone();
        audit.modified_from_ip = self.ip.clone();
        audit.modified_via = Some(via.to_owned());
        audit.modified_user_agent = self.user_agent.clone();
        audit.version += 1;
    }
}
