use storage::record::{
    ApiToken, Grant, Identity, Member, Ownership, Revocation, Role, Team, User, Visibility,
};

use super::*;
use crate::auth::access::Object;

const NOW: i64 = 1_000_000_000_000;

fn standing() -> Standing {
    Standing {
        user_required: false,
        user_role: "platform_viewer".to_owned(),
        member_role: "viewer".to_owned(),
        owner_role: "team_admin".to_owned(),
    }
}

fn claimed(email: &str) -> Caller {
    let (rights, issued_at) = (Rights::none(), Some(NOW / 1_000_000));
    Caller { email: email.to_owned(), rights, issued_at, ..Caller::nobody() }
}

fn user(email: &str) -> User {
    User {
        id: format!("id-of-{email}"),
        email: email.to_owned(),
        is_active: true,
        ..User::default()
    }
}

fn team(id: &str) -> Identity {
    Team { id: id.to_owned(), is_active: true, ..Team::default() }.into()
}

fn member(team_id: &str, email: &str, role: TeamRole) -> Identity {
    let id = format!("{team_id}/{email}");
    let (team_id, user_email) = (team_id.to_owned(), email.to_owned());
    Member { id, team_id, user_email, role, ..Member::default() }.into()
}

fn people(records: Vec<Identity>) -> People {
    let mut people = People::default();
    records.into_iter().for_each(|record| people.put(record));
    people
}

fn of(claimed: &Caller, people: &People) -> Caller {
    settle(claimed, people, &standing(), NOW).unwrap().0
}

fn owned(team_id: Option<&str>, owner: &str, visibility: Visibility) -> Ownership {
    Ownership {
        team_id: team_id.map(str::to_owned),
        owner_email: Some(owner.to_owned()),
        visibility,
    }
}

#[test]
fn who_was_switched_off_or_logged_out_everywhere_is_refused() {
    let people = |change: &dyn Fn(&mut User)| {
        let mut user = user("a@x");
        change(&mut user);
        people(vec![user.into()])
    };
    let refused = |people: &People| settle(&claimed("A@x"), people, &standing(), NOW).err();
    assert_eq!(refused(&people(&|_| ())), None);
    assert_eq!(refused(&people(&|user| user.is_active = false)), Some(Fault::Disabled));
    assert_eq!(refused(&people(&|user| user.tokens_valid_from = NOW + 1)), Some(Fault::Revoked));
    let strict = Standing { user_required: true, ..standing() };
    assert_eq!(
        settle(&claimed("b@x"), &people(&|_| ()), &strict, NOW).err(),
        Some(Fault::Stranger)
    );
}

#[test]
fn the_record_of_a_user_says_whether_they_are_an_administrator_and_not_the_token() {
    let people = people(vec![user("a@x").into()]);
    let token = Caller { is_admin: true, teams: Teams::Null, ..claimed("a@x") };
    assert!(!of(&token, &people).rights.unrestricted);
    let stranger = Caller { is_admin: true, teams: Teams::Null, ..claimed("b@x") };
    assert!(of(&stranger, &people).rights.unrestricted);
}

#[test]
fn a_login_names_its_user_by_id() {
    let people = people(vec![user("a@x").into()]);
    assert_eq!(of(&claimed("id-of-a@x"), &people).email, "a@x");
}

#[test]
fn a_revoked_token_and_one_without_its_record_are_refused() {
    let terms = |change: &dyn Fn(&mut ApiToken)| {
        let mut terms = ApiToken { id: "1".into(), jti: "j".into(), ..ApiToken::default() };
        (terms.is_active, terms.user_email) = (true, "a@x".to_owned());
        change(&mut terms);
        people(vec![terms.into()])
    };
    let token = Caller { token_id: Some("j".to_owned()), is_api_token: true, ..claimed("a@x") };
    let refused = |people: &People| settle(&token, people, &standing(), NOW).err();
    assert_eq!(refused(&terms(&|_| ())), None);
    assert_eq!(refused(&terms(&|terms| terms.is_active = false)), Some(Fault::Revoked));
    assert_eq!(refused(&terms(&|terms| terms.revoked_at = Some(1))), Some(Fault::Revoked));
    assert_eq!(refused(&terms(&|terms| terms.expires_at = Some(NOW))), Some(Fault::Expired));
    assert_eq!(refused(&People::default()), Some(Fault::Revoked));
    let other = Caller { is_api_token: false, ..token.clone() };
    let revoked = people(vec![Revocation { id: "j".into(), ..Revocation::default() }.into()]);
    assert_eq!(settle(&other, &People::default(), &standing(), NOW).err(), None);
    assert_eq!(settle(&other, &revoked, &standing(), NOW).err(), Some(Fault::Revoked));
}

#[test]
fn who_must_change_their_password_may_nothing_else() {
    let mut strict = user("a@x");
    (strict.is_admin, strict.password_change_required) = (true, true);
    let people = people(vec![strict.into()]);
    let session = of(&Caller { is_session: true, ..claimed("a@x") }, &people);
    assert!(session.must_change_password);
    assert!(!session.may(Permission::ToolsRead, Object::Nothing));
    let other = of(&claimed("a@x"), &people);
    assert!(other.may(Permission::ToolsRead, Object::Nothing), "it is about logins");
}

#[test]
fn the_record_of_a_token_says_what_it_is_good_for() {
    let mut terms = ApiToken { id: "1".into(), jti: "j".into(), ..ApiToken::default() };
    terms.is_active = true;
    terms.permissions = vec!["tools.read".to_owned()];
    terms.server_id = Some("s".to_owned());
    let caller = Caller { token_id: Some("j".to_owned()), ..claimed("a@x") };
    let settled = of(&caller, &people(vec![terms.into()]));
    assert!(settled.opens(Some("s")) && !settled.opens(None));
    assert!(settled.rights.mask.contains(Permission::ToolsRead));
    assert!(settled.rights.mask.contains(Permission::ServersUse));
    assert!(!settled.rights.mask.contains(Permission::ToolsExecute));
}

/// The table of contract §4: what the claim `teams` reaches.
#[test]
fn the_claim_teams_reaches_what_the_contract_says() {
    let mut admin = user("root@x");
    admin.is_admin = true;
    let people = people(vec![
        admin.into(),
        user("a@x").into(),
        team("t1"),
        team("t2"),
        member("t1", "a@x", TeamRole::Member),
        member("t2", "a@x", TeamRole::Owner),
    ]);
    let own = owned(None, "a@x", Visibility::Private);
    let of_t1 = owned(Some("t1"), "z@x", Visibility::Team);
    let of_t2 = owned(Some("t2"), "z@x", Visibility::Team);
    let public = owned(None, "z@x", Visibility::Public);
    let listed = |ids: &[&str]| Teams::Listed(ids.iter().map(ToString::to_string).collect());
    let seen = |email: &str, teams: Teams, is_session: bool| {
        let caller = of(&Caller { teams, is_session, ..claimed(email) }, &people);
        [&own, &of_t1, &of_t2, &public].map(|thing| caller.sees(thing))
    };
    assert_eq!(seen("a@x", Teams::Absent, false), [false, false, false, true]);
    assert_eq!(seen("a@x", Teams::Null, false), [false, false, false, true]);
    assert_eq!(seen("a@x", listed(&[]), false), [false, false, false, true]);
    assert_eq!(seen("a@x", listed(&["t1"]), false), [true, true, false, true]);
    assert_eq!(seen("a@x", listed(&["t1", "t9"]), false), [true, true, false, true]);
    assert_eq!(seen("a@x", Teams::Absent, true), [true, true, true, true]);
    assert_eq!(seen("root@x", Teams::Null, false), [true; 4]);
    assert_eq!(seen("root@x", Teams::Absent, false), [true; 4]);
    assert_eq!(seen("root@x", listed(&["t1"]), false), [false, true, false, true]);
    assert_eq!(seen("root@x", listed(&[]), false), [false, false, false, true]);
}

#[test]
fn an_administrator_with_a_token_for_the_public_changes_nothing() {
    let mut admin = user("root@x");
    admin.is_admin = true;
    let people = people(vec![admin.into()]);
    let caller = of(&Caller { teams: Teams::Listed(vec![]), ..claimed("root@x") }, &people);
    let public = owned(None, "z@x", Visibility::Public);
    assert!(caller.may(Permission::ToolsExecute, &public));
    assert!(!caller.may(Permission::ToolsUpdate, &public));
    assert!(!caller.may(Permission::AdminExport, Object::Nothing));
}

#[test]
fn roles_of_a_team_count_there_and_those_that_ended_nowhere() {
    let mut role = Role { id: "r".into(), name: "runner".into(), ..Role::default() };
    (role.is_active, role.scope) = (true, Scope::Team);
    role.permissions = vec!["tools.update".to_owned()];
    let grant = |expires_at| {
        let mut grant =
            Grant { id: "g".into(), role_id: "r".into(), expires_at, ..Grant::default() };
        (grant.user_email, grant.scope) = ("a@x".to_owned(), Scope::Team);
        grant.scope_id = Some("t1".to_owned());
        grant
    };
    let with = |expires_at| {
        people(vec![
            user("a@x").into(),
            team("t1"),
            team("t2"),
            member("t1", "a@x", TeamRole::Member),
            member("t2", "a@x", TeamRole::Member),
            role.clone().into(),
            grant(expires_at).into(),
        ])
    };
    let session = Caller { is_session: true, ..claimed("a@x") };
    let of_team = |id| owned(Some(id), "z@x", Visibility::Team);
    let (caller, until) = settle(&session, &with(Some(NOW + 5)), &standing(), NOW).unwrap();
    assert_eq!(until, NOW + 5);
    assert!(caller.may(Permission::ToolsUpdate, &of_team("t1")));
    assert!(!caller.may(Permission::ToolsUpdate, &of_team("t2")));
    assert!(caller.may(Permission::ToolsExecute, &of_team("t2")));
    let (caller, _) = settle(&session, &with(Some(NOW)), &standing(), NOW).unwrap();
    assert!(!caller.may(Permission::ToolsUpdate, &of_team("t1")));
}

#[test]
fn whoever_the_database_does_not_know_uses_what_is_public_and_changes_nothing() {
    let caller = of(&claimed("a@x"), &People::default());
    let public = owned(None, "z@x", Visibility::Public);
    assert!(caller.may(Permission::ToolsRead, &public));
    assert!(caller.may(Permission::ToolsExecute, &public));
    assert!(!caller.may(Permission::ToolsUpdate, &public));
    assert!(!caller.may(Permission::ToolsCreate, Object::Nothing));
    assert!(!caller.may(Permission::AdminExport, Object::Nothing));
}

#[test]
fn a_token_that_names_a_record_is_not_good_for_whoever_has_the_address_later() {
    let named = Caller {
        user_id: Some("id-of-ann".to_owned()),
        is_admin: true,
        is_session: true,
        ..claimed("ann")
    };
    let settle = |people: &People| settle(&named, people, &standing(), NOW).map(|found| found.0);
    assert_eq!(settle(&People::default()), Err(Fault::Stranger), "nobody, however much they were");
    let other = User { id: "another id".to_owned(), ..user("ann") };
    assert_eq!(settle(&people(vec![other.into()])), Err(Fault::Stranger));
    let known = settle(&people(vec![user("ann").into()])).unwrap();
    assert_eq!((known.email.as_str(), known.is_admin), ("ann", false));
}
