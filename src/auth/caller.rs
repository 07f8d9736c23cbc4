//! Who sent a request.

use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::digest;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use storage::record::Ownership;

use super::access::{self, Object, Rights};
use super::restrictions::{Outside, Restrictions};
use crate::permission::Permission;

/// Who sent a request: as their token says, and what that comes to now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The user's address, or the name that stands for one.
    pub email: String,
    /// The id of the user's record, if the token names it: without that record it is good no more,
    /// whoever has the address then.
    pub user_id: Option<String>,
    /// Whether they command the gateway.
    pub is_admin: bool,
    /// The teams they act for.
    pub teams: Teams,
    /// What the token is good for; `None` for everything that its user may.
    pub scopes: Option<Scopes>,
    /// The token's id (`jti`).
    pub token_id: Option<String>,
    /// The end of the token, in seconds since the epoch; `None` for none.
    pub expires_at: Option<u64>,
    /// When the token was issued, in seconds since the epoch, if it says so.
    pub issued_at: Option<i64>,
    /// Whether the token is that of a login: its user's teams are those of the database.
    pub is_session: bool,
    /// Whether the token is one of those that users make for programs: there must be a record of it.
    pub is_api_token: bool,
    /// The id of that record, once it was looked at.
    pub api_token_id: Option<String>,
    /// What another issuer's token says of itself; `None` for ours.
    pub foreign: Option<Arc<Foreign>>,
    /// Whether they must choose another password before anything else.
    pub must_change_password: bool,
    /// The claims of the token as they were signed, in JSON; `None` for who came without one.
    pub claims: Option<Arc<str>>,
    /// What they may.
    pub rights: Rights,
}

/// What a token of another issuer says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    /// Who issued it.
    pub issuer: Arc<str>,
    /// Whom it is for.
    pub audiences: Vec<String>,
    /// What it is good for, by its issuer's words.
    pub scopes: Vec<String>,
}

/// The claim `teams`: its three states mean three things (contract §4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Teams {
    /// It is not there.
    Absent,
    /// It is `null`: every team, if the caller is an administrator.
    Null,
    /// The ids of teams, perhaps none.
    Listed(Vec<String>),
}

/// What a token is good for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scopes {
    /// The one virtual server that it opens; `None` for all.
    pub server_id: Option<String>,
    /// The permissions that it carries; empty or with `*`: all of its user's.
    pub permissions: Vec<String>,
    /// From where and when it is good; `None` for anywhere and always.
    pub restrictions: Option<Arc<Restrictions>>,
}

impl Caller {
    /// Whoever speaks to a gateway without authentication: an administrator.
    pub fn operator() -> Caller {
        Caller::unnamed(true)
    }

    /// Whoever speaks, without a token, to a virtual server that needs none: nobody in particular.
    pub fn nobody() -> Caller {
        Caller::unnamed(false)
    }

    fn unnamed(is_admin: bool) -> Caller {
        Caller {
            email: "anonymous".to_owned(),
            user_id: None,
            is_admin,
            teams: if is_admin { Teams::Null } else { Teams::Absent },
            scopes: None,
            token_id: None,
            expires_at: None,
            issued_at: None,
            is_session: false,
            is_api_token: false,
            api_token_id: None,
            foreign: None,
            must_change_password: false,
            claims: None,
            rights: if is_admin { Rights::unrestricted() } else { Rights::guest() },
        }
    }

    /// Whether they may do what `permission` says to `object` (see [`access::decide`]).
    pub fn may<'a>(&'a self, permission: Permission, object: impl Into<Object<'a>>) -> bool {
        access::decide(self, permission, object).is_allowed()
    }

    /// Whether a thing exists for them.
    pub fn sees(&self, owned: &Ownership) -> bool {
        access::sees(self, owned)
    }

    /// Looks whether the token is good at `now`, in seconds since the epoch, where it comes from.
    ///
    /// # Errors
    ///
    /// [`Outside`] if it is bound to other places or times.
    pub fn check_place(&self, from: impl FnOnce() -> IpAddr, now: u64) -> Result<(), Outside> {
        let bounds = self.scopes.as_ref().and_then(|scopes| scopes.restrictions.as_ref());
        bounds.map_or(Ok(()), |bounds| bounds.check(from(), now))
    }

    /// What the caller's token is good for, as a text that is equal for all tokens of this kind and
    /// tells nothing else: who has one may go on with what another of them began.
    pub fn standing(&self) -> String {
        let Caller { email, user_id, is_admin, teams, scopes, foreign, .. } = self;
        let kind = (self.is_session, self.is_api_token, self.must_change_password);
        let text = format!("{:?}", (email, user_id, is_admin, teams, scopes, foreign, kind));
        let digest = digest::digest(&digest::SHA256, text.as_bytes());
        BASE64_URL_SAFE_NO_PAD.encode(&digest.as_ref()[..16])
    }

    /// The one team that the token acts for, if it is one.
    pub fn sole_team(&self) -> Option<&str> {
        match &self.teams {
            Teams::Listed(ids) => ids.first().filter(|_| ids.len() == 1).map(String::as_str),
            Teams::Absent | Teams::Null => None,
        }
    }

    /// Whether the token opens the virtual server `server_id`; `None` asks for what belongs to no
    /// virtual server, which a token bound to one does not open.
    pub fn opens(&self, server_id: Option<&str>) -> bool {
        match self.scopes.as_ref().and_then(|scopes| scopes.server_id.as_deref()) {
            Some(only) => server_id == Some(only),
            None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scoped(server_id: Option<&str>, permissions: &[&str]) -> Caller {
        let scopes = Scopes {
            server_id: server_id.map(str::to_owned),
            permissions: permissions.iter().map(ToString::to_string).collect(),
            restrictions: None,
        };
        Caller { scopes: Some(scopes), ..Caller::nobody() }
    }

    #[test]
    fn tokens_of_one_kind_stand_for_each_other_and_no_others_do() {
        let one = Caller { token_id: Some("a".to_owned()), ..scoped(None, &["tools.read"]) };
        let renewed = Caller { token_id: Some("b".to_owned()), expires_at: Some(7), ..one.clone() };
        assert_eq!(one.standing(), renewed.standing());
        let wider = Caller { scopes: None, ..one.clone() };
        let admin = Caller { is_admin: true, ..one.clone() };
        let other = Caller { email: "eve@example.com".to_owned(), ..one.clone() };
        for other in [wider, admin, other] {
            assert_ne!(one.standing(), other.standing());
        }
    }

    #[test]
    fn a_token_bound_to_a_server_opens_nothing_else() {
        let caller = scoped(Some("a"), &["*"]);
        assert!(caller.opens(Some("a")) && !caller.opens(Some("b")) && !caller.opens(None));
        let caller = scoped(None, &[]);
        assert!(caller.opens(Some("a")) && caller.opens(None));
    }
}
