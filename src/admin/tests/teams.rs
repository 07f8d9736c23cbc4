//! Teams, members, invitations and requests to join.

use serde_json::{Value, json};
use storage::Mutation;
use storage::record::{Invitation, Member, Team, TeamRole, new_id};

use super::harness::{Gateway, Request, block_on};
use crate::admin::Backend;

const ANN: &str = "ann@example.com";
const BOB: &str = "bob@example.com";
const EVE: &str = "eve@example.com";

/// A gateway with three users.
fn gateway() -> Gateway {
    let gateway = Gateway::new();
    for email in [ANN, BOB, EVE] {
        gateway.user(email);
    }
    gateway
}

fn make(gateway: &Gateway, email: &str, body: &Value) -> String {
    let (status, team) = gateway.send_as(email, Request::post("/teams/", &body.to_string()));
    assert_eq!(status, 201, "{team}");
    text(&team, "id")
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("{name} of {value}")).to_owned()
}

fn listed(gateway: &Gateway, email: &str) -> Vec<String> {
    let (status, list) = gateway.send_as(email, Request::get("/teams"));
    assert_eq!(status, 200);
    let teams = list["teams"].as_array().unwrap();
    assert_eq!(list["total"], teams.len());
    teams.iter().map(|team| text(team, "name")).collect()
}

/// Lets `email` into a team by an invitation of `by`.
fn invite(gateway: &Gateway, by: &str, team: &str, email: &str, role: &str) -> (u16, Value) {
    let body = json!({"email": email, "role": role}).to_string();
    let (status, made) =
        gateway.send_as(by, Request::post(&format!("/teams/{team}/invitations"), &body));
    if status != 201 {
        return (status, made);
    }
    let path = format!("/teams/invitations/{}/accept", text(&made, "token"));
    gateway.send_as(email, Request::post(&path, ""))
}

#[test]
fn a_team_is_shown_to_its_members_and_is_not_there_for_others() {
    let gateway = gateway();
    let body = json!({"name": "Blue Team", "description": "of blue", "max_members": 5});
    let id = make(&gateway, ANN, &body);
    let path = format!("/teams/{id}");
    let (status, mut team) = gateway.send_as(ANN, Request::get(&path));
    assert_eq!(status, 200);
    for name in ["created_at", "updated_at"] {
        assert!(team.as_object_mut().unwrap().remove(name).unwrap().is_string());
    }
    assert_eq!(
        team,
        json!({
            "id": id, "name": "Blue Team", "slug": "blue-team", "description": "of blue",
            "created_by": ANN, "is_personal": false, "visibility": "private", "max_members": 5,
            "member_count": 1, "is_active": true,
        })
    );
    assert_eq!(listed(&gateway, ANN), ["Blue Team"]);
    assert!(listed(&gateway, EVE).is_empty());
    let [members, leave] = ["members", "leave"].map(|part| format!("{path}/{part}"));
    for request in [Request::get(&members), Request::delete(&path), Request::delete(&leave)] {
        let (status, body) = gateway.send_as(EVE, request);
        assert!(status == 404 || status == 403, "{status} {body}");
        assert!(!body.to_string().contains("Blue"), "{body}");
    }
    assert_eq!(gateway.send_as(EVE, Request::get(&path)).0, 404);
    assert_eq!(gateway.send(Request::get(&path)).0, 200);
}

#[test]
fn a_slug_that_is_taken_gets_another_end_unless_it_was_chosen() {
    let gateway = gateway();
    let body = json!({"name": "Same"});
    let [first, second] = [ANN, BOB].map(|email| make(&gateway, email, &body));
    let slug = |id: &str| text(&gateway.send(Request::get(&format!("/teams/{id}"))).1, "slug");
    assert_eq!(slug(&first), "same");
    assert_eq!(slug(&second), format!("same-{}", &second[..8]));
    let body = json!({"name": "Other", "slug": "same"}).to_string();
    assert_eq!(gateway.send_as(ANN, Request::post("/teams", &body)).0, 409);
    for slug in ["-a", "a", "A b", "ü"] {
        let body = json!({"name": "Other", "slug": slug}).to_string();
        assert_eq!(gateway.send_as(ANN, Request::post("/teams", &body)).0, 422, "{slug}");
    }
}

#[test]
fn people_who_are_named_with_a_team_become_members_or_are_invited() {
    let gateway = gateway();
    let seeds =
        json!([{"email": BOB, "role": "owner"}, {"email": "new@example.com"}, {"email": ANN}]);
    let body = json!({"name": "t", "members": seeds}).to_string();
    let (status, made) = gateway.send_as(ANN, Request::post("/teams", &body));
    assert_eq!(status, 201, "{made}");
    assert_eq!(made["members_added"], json!([{"email": BOB, "role": "owner"}]));
    assert_eq!(made["member_count"], 2);
    let invited = &made["invitations_sent"][0];
    assert_eq!(invited["email"], "new@example.com");
    let path = format!("/teams/invitations/{}/accept", text(invited, "token"));
    let (status, member) = gateway.send_as("new@example.com", Request::post(&path, ""));
    assert_eq!((status, &member["role"]), (200, &json!("member")), "{member}");
    let body = json!({"name": "u", "max_members": 1, "members": [{"email": BOB}]}).to_string();
    assert_eq!(gateway.send_as(ANN, Request::post("/teams", &body)).0, 409);
}

#[test]
fn an_invitation_is_good_once_for_whom_it_was_made_and_as_long_as_it_lasts() {
    let gateway = gateway();
    let id = make(&gateway, ANN, &json!({"name": "t"}));
    let invitations = format!("/teams/{id}/invitations");
    let invite = |email: &str| {
        let body = json!({"email": email}).to_string();
        gateway.send_as(ANN, Request::post(&invitations, &body))
    };
    let (status, first) = invite("Bob@Example.com");
    assert_eq!((status, &first["email"], &first["is_active"]), (201, &json!(BOB), &json!(true)));
    let accept = |email: &str, made: &Value| {
        let path = format!("/teams/invitations/{}/accept", text(made, "token"));
        gateway.send_as(email, Request::post(&path, ""))
    };
    let (status, refused) = accept(EVE, &first);
    assert_eq!((status, &refused["detail"]), (404, &json!("Invalid or expired invitation")));
    // Another for the same address makes the first void.
    let (_, second) = invite(BOB);
    assert_eq!(accept(BOB, &first).0, 404);
    let (_, list) = gateway.send_as(ANN, Request::get(&invitations));
    assert_eq!((list.as_array().unwrap().len(), &list[0]["token"]), (1, &Value::Null));
    let stored = gateway.catalog().people().invitations().next().unwrap().clone();
    assert!(!format!("{stored:?}").contains(&text(&second, "token")));
    let (status, member) = accept(BOB, &second);
    assert_eq!(
        (status, &member["user_email"], &member["invited_by"]),
        (200, &json!(BOB), &json!(ANN))
    );
    assert_eq!(accept(BOB, &second).0, 404);
    assert_eq!(invite(BOB).0, 409);
    assert_eq!(listed(&gateway, BOB), ["t"]);
    // One that has run out is as good as none, and makes room.
    let (_, third) = invite(EVE);
    let stored = gateway.catalog().people().invitations().next().unwrap().clone();
    let over = Invitation { expires_at: 1, ..(*stored).clone() };
    block_on(Backend::apply(&gateway, vec![Mutation::PutIdentity(over.into())])).unwrap();
    assert_eq!(accept(EVE, &third).0, 404);
    let (_, list) = gateway.send_as(ANN, Request::get(&invitations));
    assert_eq!((&list[0]["is_expired"], &list[0]["is_active"]), (&json!(true), &json!(false)));
    let (_, fourth) = invite(EVE);
    let path = format!("/teams/invitations/{}", text(&fourth, "id"));
    assert_eq!(gateway.send_as(EVE, Request::delete(&path)).0, 403);
    assert_eq!(gateway.send_as(BOB, Request::delete(&path)).0, 403);
    assert_eq!(gateway.send_as(ANN, Request::delete(&path)).0, 200);
    assert_eq!(accept(EVE, &fourth).0, 404);
}

#[test]
fn a_member_manages_nothing_and_the_last_owner_stays() {
    let gateway = gateway();
    let id = make(&gateway, ANN, &json!({"name": "t"}));
    assert_eq!(invite(&gateway, ANN, &id, BOB, "member").0, 200);
    let member = |email: &str| format!("/teams/{id}/members/{}", email.replace('@', "%40"));
    let body = json!({"email": EVE, "role": "member"}).to_string();
    let (status, refused) =
        gateway.send_as(BOB, Request::post(&format!("/teams/{id}/members"), &body));
    let detail = "Insufficient permissions. Required: teams.manage_members";
    assert_eq!((status, &refused["detail"]), (403, &json!(detail)));
    assert_eq!(gateway.send_as(BOB, Request::delete(&member(ANN))).0, 403);
    let change = |by: &str, email: &str, role: &str| {
        let body = json!({"role": role}).to_string();
        gateway.send_as(by, Request::put(&member(email), &body)).0
    };
    assert_eq!(change(BOB, BOB, "owner"), 403);
    assert_eq!(change(ANN, ANN, "member"), 409);
    assert_eq!(change(ANN, BOB, "king"), 422);
    let (status, refused) = gateway.send_as(ANN, Request::delete(&format!("/teams/{id}/leave")));
    assert_eq!(status, 409, "{refused}");
    assert_eq!(gateway.send_as(ANN, Request::delete(&member(ANN))).0, 409);
    assert_eq!(change(ANN, BOB, "owner"), 200);
    assert_eq!(gateway.send_as(ANN, Request::delete(&format!("/teams/{id}/leave"))).0, 200);
    assert!(listed(&gateway, ANN).is_empty());
    assert_eq!(gateway.send_as(BOB, Request::delete(&member(ANN))).0, 404);
    let (_, members) = gateway.send_as(BOB, Request::get(&format!("/teams/{id}/members")));
    assert_eq!(members.as_array().unwrap().len(), 1);
    assert_eq!(members[0]["user_email"], BOB);
}

/// So of two owners who leave at the same moment, the second finds the team changed and stays.
#[test]
fn every_change_of_the_members_is_a_change_of_the_team() {
    let gateway = gateway();
    let id = make(&gateway, ANN, &json!({"name": "t"}));
    let version = || gateway.catalog().people().team(&id).unwrap().version;
    assert_eq!(version(), 1);
    assert_eq!(invite(&gateway, ANN, &id, BOB, "owner").0, 200);
    assert_eq!(version(), 2);
    let path = format!("/teams/{id}/members/{BOB}");
    assert_eq!(gateway.send_as(ANN, Request::put(&path, r#"{"role": "member"}"#)).0, 200);
    assert_eq!(version(), 3);
    assert_eq!(gateway.send_as(ANN, Request::delete(&path)).0, 200);
    assert_eq!(version(), 4);
}

#[test]
fn a_public_team_is_found_and_can_be_asked_to_let_one_in() {
    let gateway = gateway();
    let private = make(&gateway, ANN, &json!({"name": "hidden"}));
    let id = make(&gateway, ANN, &json!({"name": "open", "visibility": "public"}));
    let (_, found) = gateway.send_as(BOB, Request::get("/teams/discover"));
    let names: Vec<_> = found.as_array().unwrap().iter().map(|team| text(team, "name")).collect();
    assert_eq!(names, ["open"]);
    assert_eq!((&found[0]["is_joinable"], &found[0]["member_count"]), (&json!(true), &json!(1)));
    let (_, own) = gateway.send_as(ANN, Request::get("/teams/discover"));
    assert_eq!(own, json!([]));
    assert_eq!(gateway.send_as(BOB, Request::get(&format!("/teams/{id}"))).0, 200);
    assert_eq!(gateway.send_as(BOB, Request::get(&format!("/teams/{id}/members"))).0, 403);
    let join = format!("/teams/{id}/join");
    let ask = |email: &str| gateway.send_as(email, Request::post(&join, r#"{"message": "hi"}"#));
    assert_eq!(gateway.send_as(BOB, Request::post(&format!("/teams/{private}/join"), "")).0, 404);
    let (status, asked) = ask(BOB);
    assert_eq!(
        (status, &asked["status"], &asked["team_name"]),
        (200, &json!("pending"), &json!("open"))
    );
    assert_eq!(ask(BOB).0, 409);
    let requests = format!("/teams/{id}/join-requests");
    assert_eq!(gateway.send_as(BOB, Request::get(&requests)).0, 403);
    let (_, list) = gateway.send_as(ANN, Request::get(&requests));
    assert_eq!((list.as_array().unwrap().len(), &list[0]["message"]), (1, &json!("hi")));
    let one = format!("{requests}/{}", text(&asked, "id"));
    assert_eq!(gateway.send_as(BOB, Request::post(&format!("{one}/approve"), "")).0, 403);
    assert_eq!(gateway.send_as(ANN, Request::delete(&one)).0, 200);
    assert_eq!(gateway.send_as(ANN, Request::post(&format!("{one}/approve"), "")).0, 404);
    let (status, asked) = ask(BOB);
    assert_eq!(status, 200, "whoever was refused may ask again");
    let approve = format!("{requests}/{}/approve", text(&asked, "id"));
    assert_eq!(gateway.send_as(ANN, Request::post(&approve, "")).0, 200);
    assert_eq!(ask(BOB).0, 409);
    assert_eq!(listed(&gateway, BOB), ["open"]);
    assert_eq!(gateway.send_as(ANN, Request::get(&requests)).1, json!([]));
}

#[test]
fn a_team_holds_no_more_than_it_may_and_a_user_is_in_no_more_than_they_may() {
    let mut gateway = gateway();
    gateway.rules.teams.team_count_max = 1;
    let id = make(&gateway, ANN, &json!({"name": "t", "max_members": 2}));
    let (status, refused) = gateway.send_as(ANN, Request::post("/teams", r#"{"name": "u"}"#));
    assert_eq!(status, 409);
    assert!(refused["detail"].as_str().unwrap().contains("MAX_TEAMS_PER_USER"), "{refused}");
    assert_eq!(invite(&gateway, ANN, &id, BOB, "member").0, 200);
    let (status, refused) = invite(&gateway, ANN, &id, EVE, "member");
    assert_eq!(status, 409);
    assert!(refused["detail"].as_str().unwrap().contains("no room"), "{refused}");
    let body = json!({"email": EVE}).to_string();
    assert_eq!(gateway.send(Request::post(&format!("/teams/{id}/members"), &body)).0, 409);
    let path = format!("/teams/{id}");
    assert_eq!(gateway.send_as(ANN, Request::put(&path, r#"{"max_members": 101}"#)).0, 422);
    assert_eq!(gateway.send(Request::put(&path, r#"{"max_members": 101}"#)).0, 200);
    // Bob is in one team already.
    let other = make(&gateway, EVE, &json!({"name": "v"}));
    assert_eq!(invite(&gateway, EVE, &other, BOB, "member").0, 409);
}

#[test]
fn what_is_switched_off_is_refused() {
    let mut gateway = gateway();
    let id = make(&gateway, ANN, &json!({"name": "t", "visibility": "public"}));
    let teams = &mut gateway.rules.teams;
    teams.creation_allowed = false;
    teams.invitations_allowed = false;
    teams.join_requests_allowed = false;
    assert_eq!(gateway.send_as(ANN, Request::post("/teams", r#"{"name": "u"}"#)).0, 403);
    assert_eq!(gateway.send(Request::post("/teams", r#"{"name": "u"}"#)).0, 201);
    assert_eq!(invite(&gateway, ANN, &id, BOB, "member").0, 403);
    assert_eq!(gateway.send_as(BOB, Request::post(&format!("/teams/{id}/join"), "")).0, 403);
}

/// Gives a user the team of one alone that new users get.
fn personal_team(gateway: &Gateway, email: &str) -> String {
    let id = new_id();
    let text = str::to_owned;
    let team = Team {
        id: id.clone(),
        slug: format!("personal-{id}"),
        name: text("Own"),
        created_by: text(email),
        is_personal: true,
        is_active: true,
        version: 1,
        ..Team::default()
    };
    let member = Member {
        id: new_id(),
        team_id: id.clone(),
        user_email: text(email),
        role: TeamRole::Owner,
        ..Member::default()
    };
    let mutations = vec![Mutation::PutIdentity(team.into()), Mutation::PutIdentity(member.into())];
    block_on(Backend::apply(gateway, mutations)).unwrap();
    id
}

#[test]
fn what_a_user_makes_is_of_their_own_team_unless_they_name_another() {
    let gateway = gateway();
    let own = personal_team(&gateway, ANN);
    let shared = make(&gateway, ANN, &json!({"name": "shared"}));
    let foreign = make(&gateway, BOB, &json!({"name": "foreign"}));
    let tool = |name: &str, more: Value| {
        let mut body = json!({"name": name, "url": "http://x.example/y"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body.to_string()
    };
    let post = |body: &str| gateway.send_as(ANN, Request::post("/tools", body));
    let (status, made) = post(&tool("a", json!({"visibility": "team"})));
    assert_eq!(
        (status, &made["teamId"], &made["team"]),
        (200, &json!(own), &json!("Own")),
        "{made}"
    );
    assert_eq!((&made["visibility"], &made["ownerEmail"]), (&json!("team"), &json!(ANN)));
    let (status, made) = post(&tool("b", json!({"visibility": "team", "team_id": shared})));
    assert_eq!((status, &made["team"]), (200, &json!("shared")), "{made}");
    for absent in [foreign.as_str(), "nothing"] {
        let (status, refused) = post(&tool("c", json!({"team_id": absent})));
        assert_eq!(status, 403, "{refused}");
        assert!(!refused.to_string().contains(absent), "whether it is there is not told");
    }
    // Administrators hear which team is not there; what they make is of none.
    let body = tool("d", json!({"team_id": "nothing"}));
    let (status, refused) = gateway.send(Request::post("/tools", &body));
    assert_eq!((status, &refused["detail"][0]["loc"]), (422, &json!(["body", "team_id"])));
    let (status, made) = gateway.send(Request::post("/tools", &tool("e", json!({}))));
    assert_eq!((status, &made["teamId"], &made["team"]), (200, &Value::Null, &Value::Null));
    let (_, list) = gateway.send_as(ANN, Request::get(&format!("/tools?team_id={shared}")));
    assert_eq!(list.as_array().unwrap().len(), 1);
    let (_, list) = gateway.send_as(BOB, Request::get(&format!("/tools?team_id={shared}")));
    assert_eq!(list, json!([]));
}

#[test]
fn a_personal_team_is_its_owners_alone() {
    let gateway = gateway();
    let id = personal_team(&gateway, ANN);
    assert_eq!(listed(&gateway, ANN), ["Own"]);
    let path = format!("/teams/{id}");
    assert_eq!(gateway.send_as(ANN, Request::delete(&path)).0, 403);
    assert_eq!(gateway.send_as(ANN, Request::put(&path, r#"{"name": "x"}"#)).0, 403);
    assert_eq!(gateway.send_as(ANN, Request::delete(&format!("{path}/leave"))).0, 403);
    let body = json!({"email": BOB}).to_string();
    for part in ["members", "invitations"] {
        assert_eq!(gateway.send_as(ANN, Request::post(&format!("{path}/{part}"), &body)).0, 403);
    }
    // Administrators do not find the personal teams of others in their list.
    let (_, list) = gateway.send(Request::get("/teams"));
    assert_eq!(list["teams"], json!([]));
}

#[test]
fn a_team_that_owns_something_goes_only_if_it_gives_that_up() {
    let gateway = gateway();
    let id = make(&gateway, ANN, &json!({"name": "t"}));
    let body =
        json!({"name": "own", "url": "http://x.example/y", "team_id": id, "visibility": "team"});
    let (status, tool) = gateway.send_as(ANN, Request::post("/tools", &body.to_string()));
    assert_eq!(status, 200, "{tool}");
    assert_eq!(invite(&gateway, ANN, &id, BOB, "member").0, 200);
    let tool_path = format!("/tools/{}", text(&tool, "id"));
    assert_eq!(gateway.send_as(BOB, Request::get(&tool_path)).0, 200);
    let path = format!("/teams/{id}");
    let (status, refused) = gateway.send_as(ANN, Request::delete(&path));
    assert_eq!(status, 409);
    assert!(refused["detail"].as_str().unwrap().starts_with("The team owns 1 tool;"), "{refused}");
    assert_eq!(gateway.send_as(BOB, Request::delete(&format!("{path}?force=true"))).0, 403);
    assert_eq!(gateway.send_as(ANN, Request::delete(&format!("{path}?force=true"))).0, 200);
    assert_eq!(gateway.send_as(BOB, Request::get(&tool_path)).0, 404);
    let (status, tool) = gateway.send_as(ANN, Request::get(&tool_path));
    assert_eq!(
        (status, &tool["teamId"], &tool["visibility"]),
        (200, &Value::Null, &json!("private"))
    );
    let people = gateway.catalog();
    let people = people.people();
    assert!(people.team(&id).is_none() && people.member_count(&id) == 0);
    gateway.assert_stored();
}

#[test]
fn a_list_of_teams_is_read_page_by_page() {
    let gateway = gateway();
    for number in 0..5 {
        make(&gateway, ANN, &json!({"name": format!("t{number}")}));
    }
    let whole = listed(&gateway, ANN);
    assert_eq!(whole.len(), 5);
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/teams?limit=2&include_pagination=true{cursor}");
        let (_, page) = gateway.send_as(ANN, Request::get(&path));
        seen.extend(page["teams"].as_array().unwrap().iter().map(|team| text(team, "name")));
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, whole);
    let (_, page) = gateway.send_as(ANN, Request::get("/teams?skip=3"));
    assert_eq!(page["teams"].as_array().unwrap().len(), 2);
    assert_eq!(page["total"], 5);
}

#[test]
fn a_change_of_a_team_can_demand_a_version() {
    let gateway = gateway();
    let id = make(&gateway, ANN, &json!({"name": "t"}));
    let path = format!("/teams/{id}");
    let request = |version| Request::put(&path, r#"{"name": "u"}"#).if_match(version);
    assert_eq!(gateway.send_as(ANN, request("7")).0, 412);
    assert_eq!(gateway.send_as(ANN, request("1")).0, 200);
    assert_eq!(gateway.catalog().people().team(&id).unwrap().version, 2);
}
