//! Why somebody may do something or may not, in words: the rule that decided, and the rules that
//! would have allowed it.
//!
//! It decides nothing: it asks [`access::decide`], and asks it again with one thing changed.

use storage::record::{Ownership, Scope, TeamRole, Visibility};

use super::access::{self, Object, Reason, Rights, Rule, TeamRights, Verdict};
use super::caller::{Caller, Teams};
use super::held::{self, Held};
use super::settle::{Standing, settle};
use crate::catalog::People;
use crate::permission::{Permission, PermissionSet};

/// The most roles that are named as what would help.
const ROLE_COUNT_MAX: usize = 5;

/// What is asked: whether `caller`, who was settled, may do something to a thing or to none.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// Who.
    pub caller: &'a Caller,
    /// What.
    pub permission: Permission,
    /// To a thing, by whose it is.
    pub owned: Option<&'a Ownership>,
    /// The snapshot.
    pub people: &'a People,
    /// What holds of users whom no record describes in full.
    pub standing: &'a Standing,
    /// When, in microseconds since the epoch.
    pub now: i64,
}

/// An answer in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Whether it is yes.
    pub allowed: bool,
    /// The rule or the reason, as one word.
    pub rule: &'static str,
    /// The same as a sentence.
    pub sentence: String,
    /// What would make a yes of a no, each by itself.
    pub would_allow: Vec<String>,
}

impl<'a> Question<'a> {
    /// Decides, and says why.
    pub fn explain(self) -> Explanation {
        match self.decide(self.caller) {
            Verdict::Allow(rule) => Explanation {
                allowed: true,
                rule: word_of_rule(rule),
                sentence: self.rule(rule),
                would_allow: Vec::new(),
            },
            Verdict::Deny(reason) => Explanation {
                allowed: false,
                rule: word_of_reason(reason),
                sentence: self.reason(reason),
                would_allow: self.remedies(),
            },
        }
    }

    fn decide<'c>(&self, caller: &'c Caller) -> Verdict<'c>
    where
        'a: 'c,
    {
        let object = self.owned.map_or(Object::Nothing, Object::Owned);
        access::decide(caller, self.permission, object)
    }

    /// The roles of the user that permit it, and count where `counts` says.
    fn roles(&self, counts: impl Fn(&Held<'_>) -> bool) -> String {
        let held = held::of_user(&self.caller.email, self.people, self.standing);
        let permits = |held: &&Held<'_>| {
            held.is_active(self.now) && held.permissions.contains(self.permission) && counts(held)
        };
        let mut names: Vec<&str> =
            held.iter().filter(permits).map(|held| held.role_name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        match names.len() {
            0 => "a role".to_owned(),
            1 => format!("the role {}", names[0]),
            _ => format!("the roles {}", names.join(" and ")),
        }
    }

    fn rule(&self, rule: Rule<'_>) -> String {
        let Question { permission, caller, .. } = self;
        let who = &caller.email;
        match rule {
            Rule::Administrator => {
                format!("{who} is an administrator, and the token does not say less")
            }
            Rule::Owner => format!("{who} owns it, and may do everything with what is their own"),
            Rule::GlobalRole if caller.is_admin => {
                format!("{who} is an administrator, and the token reaches it")
            }
            Rule::GlobalRole => {
                let roles = self.roles(|held| held.scope == Scope::Global);
                format!("{roles} of {who}, which counts everywhere, permits {permission}")
            }
            Rule::TeamRole(team_id) => {
                let roles = self.roles(|held| {
                    held.scope == Scope::Team && held.team_id.is_none_or(|id| id == team_id)
                });
                let team = self.team_name(team_id);
                format!("{roles} of {who} in the team {team} permits {permission}")
            }
            Rule::AnyRole => {
                let roles = self.roles(|_| true);
                let what = match self.owned {
                    Some(_) => "it is public",
                    None => "it is about no thing in particular",
                };
                format!("{what}, and {roles} of {who} permits {permission}")
            }
        }
    }

    fn reason(&self, reason: Reason) -> String {
        let who = &self.caller.email;
        match reason {
            Reason::TokenScope(permission) => {
                format!("the token is not good for {permission}, whatever {who} may")
            }
            Reason::NoRole(permission) => {
                format!("no role of {who} that counts here permits {permission}")
            }
            Reason::Invisible => match self.owned {
                Some(Ownership { visibility: Visibility::Team, team_id: Some(id), .. }) => {
                    let team = self.team_name(id);
                    let is_member = self.people.member(id, who).is_some();
                    match is_member {
                        true => format!(
                            "it is shared in the team {team}, which {who} is in and for which the \
                             token does not act"
                        ),
                        false => format!(
                            "it is shared in the team {team}, which {who} is not in, so it does \
                             not exist for them"
                        ),
                    }
                }
                _ => format!("it is private to its owner, so it does not exist for {who}"),
            },
            other => other.to_string(),
        }
    }

    fn team_name(&self, id: &str) -> String {
        match self.people.team(id) {
            Some(team) => format!("{:?}", team.name),
            None => id.to_owned(),
        }
    }

    /// What would make a yes of it, each by itself; what the token leaves out is given first.
    fn remedies(&self) -> Vec<String> {
        let rights = &self.caller.rights;
        let is_masked = !rights.mask.contains(self.permission);
        let open = Rights { mask: PermissionSet::ALL, ..rights.clone() };
        let wider = format!("a token whose scopes hold {}", self.permission);
        if is_masked && self.helps(&open) {
            return vec![wider];
        }
        let mut found = Vec::new();
        if self.helps(&self.unlimited(&open)) {
            found
                .push(format!("a login of {} itself, whose token reaches more", self.caller.email));
        }
        self.by_membership(&open, &mut found);
        self.by_roles(&open, &mut found);
        if self.would_be_public(&open) {
            found.push("making it public".to_owned());
        }
        found.push("being an administrator".to_owned());
        if is_masked {
            for remedy in &mut found {
                *remedy = format!("{wider}, and {remedy}");
            }
        }
        found
    }

    /// Whether the caller could, if these were their rights.
    fn helps(&self, rights: &Rights) -> bool {
        let caller = Caller { rights: rights.clone(), ..self.caller.clone() };
        self.decide(&caller).is_allowed()
    }

    /// What the same user may by a login.
    fn unlimited(&self, open: &Rights) -> Rights {
        let claimed = Caller {
            teams: Teams::Absent,
            is_session: true,
            scopes: None,
            token_id: None,
            is_api_token: false,
            issued_at: None,
            ..self.caller.clone()
        };
        match settle(&claimed, self.people, self.standing, self.now) {
            Ok((caller, _)) => caller.rights,
            Err(_) => open.clone(),
        }
    }

    fn by_membership(&self, open: &Rights, found: &mut Vec<String>) {
        let Some(team_id) = self.owned.and_then(|owned| owned.team_id.as_deref()) else { return };
        if self.people.member(team_id, &self.caller.email).is_some() {
            return;
        }
        let team = self.team_name(team_id);
        for (role, word) in [(TeamRole::Member, "a member"), (TeamRole::Owner, "an owner")] {
            let permissions = self.standing.of_member(self.people, role);
            if self.helps(&in_team(open, team_id, permissions)) {
                found.push(format!("being {word} of the team {team}"));
                return;
            }
        }
    }

    /// Names roles that would help: those that all gateways have first.
    fn by_roles(&self, open: &Rights, found: &mut Vec<String>) {
        let team_id = self.owned.and_then(|owned| owned.team_id.as_deref());
        let mut candidates: Vec<_> = self.people.roles().filter(|role| role.is_active).collect();
        candidates.sort_by_key(|role| (!role.is_system_role, &role.name));
        let mut count = 0;
        for role in candidates {
            let permissions = self.people.permissions_of(&role.id);
            let (rights, place) = match (role.scope, team_id) {
                (Scope::Global, _) => {
                    let global = open.global | permissions;
                    let anywhere = open.anywhere | permissions;
                    (Rights { global, anywhere, ..open.clone() }, "everywhere".to_owned())
                }
                (Scope::Team, Some(id)) if open.team(id).is_some() => {
                    let place = format!("in the team {}", self.team_name(id));
                    (in_team(open, id, permissions), place)
                }
                _ => continue,
            };
            if self.helps(&rights) {
                found.push(format!("the role {}, given to count {place}", role.name));
                count += 1;
            }
            if count == ROLE_COUNT_MAX {
                return;
            }
        }
    }

    fn would_be_public(&self, open: &Rights) -> bool {
        let Some(owned) = self.owned.filter(|owned| owned.visibility != Visibility::Public) else {
            return false;
        };
        let owned = Ownership { visibility: Visibility::Public, ..owned.clone() };
        Question { owned: Some(&owned), ..*self }.helps(open)
    }
}

/// These rights, with a role in a team besides.
fn in_team(rights: &Rights, team_id: &str, permissions: PermissionSet) -> Rights {
    let mut rights = rights.clone();
    rights.anywhere = rights.anywhere | permissions;
    match rights.teams.binary_search_by(|team| (*team.team_id).cmp(team_id)) {
        Ok(place) => {
            let team = &mut rights.teams[place];
            team.permissions = team.permissions | permissions;
        }
        Err(place) => {
            rights.teams.insert(place, TeamRights { team_id: team_id.into(), permissions });
        }
    }
    rights
}

fn word_of_rule(rule: Rule<'_>) -> &'static str {
    match rule {
        Rule::Administrator => "administrator",
        Rule::Owner => "owner",
        Rule::GlobalRole => "global_role",
        Rule::TeamRole(_) => "team_role",
        Rule::AnyRole => "any_role",
    }
}

fn word_of_reason(reason: Reason) -> &'static str {
    match reason {
        Reason::TokenScope(_) => "token_scope",
        Reason::Invisible => "invisible",
        Reason::NoRole(_) => "no_role",
        Reason::ForeignTeam => "foreign_team",
        Reason::ForeignOwner => "foreign_owner",
    }
}

/// What a set of permissions comes to as words: `*` for all of them.
pub fn words(permissions: PermissionSet) -> Vec<&'static str> {
    match permissions == PermissionSet::ALL {
        true => vec![crate::permission::EVERYTHING],
        false => {
            let mut words: Vec<_> = permissions.iter().map(Permission::as_str).collect();
            words.sort_unstable();
            words
        }
    }
}
