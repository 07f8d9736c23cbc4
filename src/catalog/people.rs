//! Who there is and what each may do, as the snapshot has it: found by address, by id, by token.

use std::sync::Arc;

use imbl::{HashMap, OrdMap};
use storage::record::{
    ApiToken, Entity, Grant, Identity, Invitation, JoinRequest, Member, Policy, Provider,
    Revocation, Role, Scope, Team, User,
};

use super::Id;
use crate::permission::PermissionSet;

/// How many roles one may inherit from, one behind the other.
pub const INHERITANCE_DEPTH_MAX: usize = 8;

/// Users, teams, roles, tokens, policies and identity providers. Cloning is cheap, and a change
/// costs the logarithm of the size.
#[derive(Clone, Default)]
pub struct People {
    /// Grows with every change: what was worked out from it is kept under this number.
    pub version: u64,
    users: OrdMap<Id, Arc<User>>,
    users_by_email: HashMap<Id, Id>,
    teams: OrdMap<Id, Arc<Team>>,
    members: OrdMap<Id, Arc<Member>>,
    /// Teams of a user: address, then team, to the id of the membership.
    teams_of: HashMap<Id, OrdMap<Id, Id>>,
    /// Members of a team: team, then address, to the id of the membership.
    members_of: HashMap<Id, OrdMap<Id, Id>>,
    invitations: OrdMap<Id, Arc<Invitation>>,
    join_requests: OrdMap<Id, Arc<JoinRequest>>,
    roles: OrdMap<Id, (Arc<Role>, PermissionSet)>,
    grants: OrdMap<Id, Arc<Grant>>,
    grants_of: HashMap<Id, OrdMap<Id, Arc<Grant>>>,
    tokens: OrdMap<Id, Arc<ApiToken>>,
    tokens_by_jti: HashMap<Id, Id>,
    revocations: OrdMap<Id, Arc<Revocation>>,
    policies: OrdMap<Id, Arc<Policy>>,
    providers: OrdMap<Id, Arc<Provider>>,
}

fn key(text: &str) -> Id {
    text.into()
}

/// Addresses are compared without regard to case; stored ones are in lower case already.
fn address(email: &str) -> Id {
    match email.chars().any(char::is_uppercase) {
        true => email.to_lowercase().into(),
        false => email.into(),
    }
}

impl People {
    /// Puts a record in, in the place of a former version of it.
    pub fn put(&mut self, identity: Identity) {
        self.version += 1;
        match identity {
            Identity::User(user) => self.put_user(user),
            Identity::Team(team) => drop(self.teams.insert(key(&team.id), team)),
            Identity::Member(member) => self.put_member(member),
            Identity::Invitation(it) => drop(self.invitations.insert(key(&it.id), it)),
            Identity::JoinRequest(it) => drop(self.join_requests.insert(key(&it.id), it)),
            Identity::Role(role) => self.put_role(role),
            Identity::Grant(grant) => self.put_grant(grant),
            Identity::ApiToken(token) => self.put_token(token),
            Identity::Revocation(it) => drop(self.revocations.insert(key(&it.id), it)),
            Identity::Policy(policy) => drop(self.policies.insert(key(&policy.id), policy)),
            Identity::Provider(it) => drop(self.providers.insert(key(&it.id), it)),
        }
    }

    /// Takes a record out. What is none of these is left to others.
    pub fn delete(&mut self, entity: Entity, id: &str) {
        self.version += 1;
        match entity {
            Entity::User => self.remove_user(id),
            Entity::Team => drop(self.teams.remove(id)),
            Entity::Member => self.remove_member(id),
            Entity::Invitation => drop(self.invitations.remove(id)),
            Entity::JoinRequest => drop(self.join_requests.remove(id)),
            Entity::Role => drop(self.roles.remove(id)),
            Entity::Grant => self.remove_grant(id),
            Entity::ApiToken => self.remove_token(id),
            Entity::Revocation => drop(self.revocations.remove(id)),
            Entity::Policy => drop(self.policies.remove(id)),
            Entity::Provider => drop(self.providers.remove(id)),
            _ => {}
        }
    }

    /// The user with this address, in whatever case.
    pub fn user_by_email(&self, email: &str) -> Option<&Arc<User>> {
        self.users.get(self.users_by_email.get(&address(email))?)
    }

    /// The user with this id.
    pub fn user(&self, id: &str) -> Option<&Arc<User>> {
        self.users.get(id)
    }

    /// Every user, in the order of ids.
    pub fn users(&self) -> impl Iterator<Item = &Arc<User>> {
        self.users.values()
    }

    /// The team with this id.
    pub fn team(&self, id: &str) -> Option<&Arc<Team>> {
        self.teams.get(id)
    }

    /// Every team, in the order of ids.
    pub fn teams(&self) -> impl Iterator<Item = &Arc<Team>> {
        self.teams.values()
    }

    /// The memberships of a user in teams that count, in the order of the teams' ids.
    pub fn teams_of(&self, email: &str) -> impl Iterator<Item = (&Arc<Team>, &Arc<Member>)> {
        let found = self.teams_of.get(&address(email));
        found.into_iter().flat_map(|teams| teams.iter()).filter_map(|(team_id, member_id)| {
            let team = self.teams.get(team_id).filter(|team| team.is_active)?;
            Some((team, self.members.get(member_id)?))
        })
    }

    /// The members of a team, in the order of their addresses.
    pub fn members_of(&self, team_id: &str) -> impl Iterator<Item = &Arc<Member>> {
        let found = self.members_of.get(team_id);
        let ids = found.into_iter().flat_map(|members| members.values());
        ids.filter_map(|id| self.members.get(id))
    }

    /// How many members a team has.
    pub fn member_count(&self, team_id: &str) -> usize {
        self.members_of.get(team_id).map_or(0, OrdMap::len)
    }

    /// The membership of a user in a team.
    pub fn member(&self, team_id: &str, email: &str) -> Option<&Arc<Member>> {
        self.members.get(self.members_of.get(team_id)?.get(&address(email))?)
    }

    /// The team of one user alone.
    pub fn personal_team(&self, email: &str) -> Option<&Arc<Team>> {
        self.teams_of(email).map(|(team, _)| team).find(|team| team.is_personal)
    }

    /// Every invitation, in the order of ids.
    pub fn invitations(&self) -> impl Iterator<Item = &Arc<Invitation>> {
        self.invitations.values()
    }

    /// The invitation with this id.
    pub fn invitation(&self, id: &str) -> Option<&Arc<Invitation>> {
        self.invitations.get(id)
    }

    /// Every request to join, in the order of ids.
    pub fn join_requests(&self) -> impl Iterator<Item = &Arc<JoinRequest>> {
        self.join_requests.values()
    }

    /// The request to join with this id.
    pub fn join_request(&self, id: &str) -> Option<&Arc<JoinRequest>> {
        self.join_requests.get(id)
    }

    /// The role with this id.
    pub fn role(&self, id: &str) -> Option<&Arc<Role>> {
        self.roles.get(id).map(|(role, _)| role)
    }

    /// The role of this name and scope.
    pub fn role_named(&self, name: &str, scope: Scope) -> Option<&Arc<Role>> {
        self.roles().find(|role| role.scope == scope && role.name == name)
    }

    /// Every role, in the order of ids.
    pub fn roles(&self) -> impl Iterator<Item = &Arc<Role>> {
        self.roles.values().map(|(role, _)| role)
    }

    /// What a role permits, with those that it inherits from, however many these are up to a bound;
    /// nothing if it is switched off or not there.
    pub fn permissions_of(&self, role_id: &str) -> PermissionSet {
        let mut found = PermissionSet::EMPTY;
        let mut next = Some(role_id);
        for _ in 0..INHERITANCE_DEPTH_MAX {
            let Some((role, permissions)) = next.and_then(|id| self.roles.get(id)) else { break };
            if !role.is_active {
                break;
            }
            found = found | *permissions;
            next = role.inherits_from.as_deref();
        }
        found
    }

    /// The roles that a user was given, in the order of the ids of the grants, those that have
    /// expired included.
    pub fn grants_of(&self, email: &str) -> impl Iterator<Item = &Arc<Grant>> {
        self.grants_of.get(&address(email)).into_iter().flat_map(|grants| grants.values())
    }

    /// The grant with this id.
    pub fn grant(&self, id: &str) -> Option<&Arc<Grant>> {
        self.grants.get(id)
    }

    /// Every role that was given, in the order of ids.
    pub fn grants(&self) -> impl Iterator<Item = &Arc<Grant>> {
        self.grants.values()
    }

    /// The terms of the API token with this id.
    pub fn token(&self, id: &str) -> Option<&Arc<ApiToken>> {
        self.tokens.get(id)
    }

    /// The terms of the API token whose claim `jti` this is.
    pub fn token_by_jti(&self, jti: &str) -> Option<&Arc<ApiToken>> {
        self.tokens.get(self.tokens_by_jti.get(jti)?)
    }

    /// The terms of every API token, in the order of ids.
    pub fn tokens(&self) -> impl Iterator<Item = &Arc<ApiToken>> {
        self.tokens.values()
    }

    /// Why the token with this claim `jti` is good no more, if it is so.
    pub fn revocation(&self, jti: &str) -> Option<&Arc<Revocation>> {
        self.revocations.get(jti)
    }

    /// Every token that is good no more, in the order of ids.
    pub fn revocations(&self) -> impl Iterator<Item = &Arc<Revocation>> {
        self.revocations.values()
    }

    /// The policy with this id.
    pub fn policy(&self, id: &str) -> Option<&Arc<Policy>> {
        self.policies.get(id)
    }

    /// Every policy, in the order of ids.
    pub fn policies(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.policies.values()
    }

    /// The identity provider with this id.
    pub fn provider(&self, id: &str) -> Option<&Arc<Provider>> {
        self.providers.get(id)
    }

    /// Every identity provider, in the order of ids.
    pub fn providers(&self) -> impl Iterator<Item = &Arc<Provider>> {
        self.providers.values()
    }

    fn put_role(&mut self, role: Arc<Role>) {
        let permissions = PermissionSet::of_words(role.permissions.iter().map(String::as_str));
        self.roles.insert(key(&role.id), (role, permissions));
    }

    fn put_user(&mut self, user: Arc<User>) {
        self.remove_user(&user.id);
        self.users_by_email.insert(address(&user.email), key(&user.id));
        self.users.insert(key(&user.id), user);
    }

    fn remove_user(&mut self, id: &str) {
        let Some(user) = self.users.remove(id) else { return };
        let email = address(&user.email);
        if self.users_by_email.get(&email).is_some_and(|held| **held == *id) {
            self.users_by_email.remove(&email);
        }
    }

    fn put_member(&mut self, member: Arc<Member>) {
        self.remove_member(&member.id);
        let (id, team, email) =
            (key(&member.id), key(&member.team_id), address(&member.user_email));
        self.teams_of.entry(email.clone()).or_default().insert(team.clone(), id.clone());
        self.members_of.entry(team).or_default().insert(email, id.clone());
        self.members.insert(id, member);
    }

    fn remove_member(&mut self, id: &str) {
        let Some(member) = self.members.remove(id) else { return };
        let email = address(&member.user_email);
        remove_of(&mut self.teams_of, &email, &member.team_id);
        remove_of(&mut self.members_of, &member.team_id, &email);
    }

    fn put_grant(&mut self, grant: Arc<Grant>) {
        self.remove_grant(&grant.id);
        let (id, email) = (key(&grant.id), address(&grant.user_email));
        self.grants_of.entry(email).or_default().insert(id.clone(), grant.clone());
        self.grants.insert(id, grant);
    }

    fn remove_grant(&mut self, id: &str) {
        let Some(grant) = self.grants.remove(id) else { return };
        remove_of(&mut self.grants_of, &address(&grant.user_email), id);
    }

    fn put_token(&mut self, token: Arc<ApiToken>) {
        self.remove_token(&token.id);
        self.tokens_by_jti.insert(key(&token.jti), key(&token.id));
        self.tokens.insert(key(&token.id), token);
    }

    fn remove_token(&mut self, id: &str) {
        if let Some(token) = self.tokens.remove(id) {
            self.tokens_by_jti.remove(token.jti.as_str());
        }
    }
}

/// Takes `inner` out of the map of `outer`, and the map with its last.
fn remove_of<V: Clone>(maps: &mut HashMap<Id, OrdMap<Id, V>>, outer: &str, inner: &str) {
    let Some(map) = maps.get_mut(outer) else { return };
    map.remove(inner);
    if map.is_empty() {
        maps.remove(outer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: &str, team_id: &str, email: &str) -> Identity {
        let (id, team_id) = (id.to_owned(), team_id.to_owned());
        Member { id, team_id, user_email: email.to_owned(), ..Member::default() }.into()
    }

    fn team(id: &str) -> Identity {
        Team { id: id.to_owned(), is_active: true, ..Team::default() }.into()
    }

    fn teams(people: &People, email: &str) -> Vec<String> {
        people.teams_of(email).map(|(team, _)| team.id.clone()).collect()
    }

    #[test]
    fn finds_the_teams_of_a_user_until_they_leave() {
        let mut people = People::default();
        for record in [team("t1"), team("t2"), member("m1", "t1", "a@x"), member("m2", "t2", "a@x")]
        {
            people.put(record);
        }
        people.put(member("m3", "t1", "b@x"));
        assert_eq!(teams(&people, "A@X"), ["t1", "t2"]);
        assert_eq!(people.member_count("t1"), 2);
        people.delete(Entity::Member, "m1");
        assert_eq!(teams(&people, "a@x"), ["t2"]);
        assert!(people.member("t1", "a@x").is_none() && people.member("t1", "b@x").is_some());
        people.delete(Entity::Member, "m3");
        assert_eq!(people.members_of("t1").count(), 0);
    }

    #[test]
    fn a_team_that_is_switched_off_is_nobodys() {
        let mut people = People::default();
        people.put(member("m1", "t1", "a@x"));
        assert!(teams(&people, "a@x").is_empty());
        people.put(team("t1"));
        assert_eq!(teams(&people, "a@x"), ["t1"]);
        people.put(Team { id: "t1".to_owned(), ..Team::default() }.into());
        assert!(teams(&people, "a@x").is_empty());
    }

    #[test]
    fn a_user_is_found_by_the_address_that_they_have_now() {
        let mut people = People::default();
        let user = |email: &str| -> Identity {
            User { id: "u".to_owned(), email: email.to_owned(), ..User::default() }.into()
        };
        people.put(user("old@x"));
        people.put(user("new@x"));
        assert!(people.user_by_email("old@x").is_none());
        assert_eq!(people.user_by_email("New@X").map(|user| &*user.id), Some("u"));
        people.delete(Entity::User, "u");
        assert!(people.user_by_email("new@x").is_none());
    }

    #[test]
    fn a_role_permits_what_it_inherits_until_the_other_is_switched_off() {
        use crate::permission::Permission;
        let mut people = People::default();
        let role = |id: &str, word: &str, inherits_from: Option<&str>, is_active| -> Identity {
            let inherits_from = inherits_from.map(str::to_owned);
            let permissions = vec![word.to_owned()];
            Role { id: id.to_owned(), permissions, inherits_from, is_active, ..Role::default() }
                .into()
        };
        // A circle, which no request can make, ends all the same.
        people.put(role("a", "tools.read", Some("b"), true));
        people.put(role("b", "tools.create", Some("a"), true));
        let expected = PermissionSet::of(&[Permission::ToolsRead, Permission::ToolsCreate]);
        assert_eq!(people.permissions_of("a"), expected);
        people.put(role("b", "tools.create", Some("a"), false));
        assert_eq!(people.permissions_of("a"), PermissionSet::of(&[Permission::ToolsRead]));
        assert!(people.permissions_of("b").is_empty() && people.permissions_of("c").is_empty());
    }

    #[test]
    fn every_change_makes_the_version_grow() {
        let mut people = People::default();
        people.put(team("t"));
        let before = people.version;
        people.delete(Entity::Team, "t");
        assert!(people.version > before);
    }
}
