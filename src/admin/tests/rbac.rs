//! Roles, who has them, and why somebody may or may not.

use serde_json::{Value, json};

use super::harness::{Gateway, Request, block_on};
use crate::admin::Backend;
use crate::auth::access::Object;
use crate::auth::roles;
use crate::permission::Permission;

const ANN: &str = "ann@example.com";
const BOB: &str = "bob@example.com";

fn gateway() -> Gateway {
    let gateway = Gateway::new();
    for email in [ANN, BOB] {
        gateway.user(email);
    }
    gateway
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("{name} of {value}")).to_owned()
}

fn role(gateway: &Gateway, body: &Value) -> String {
    let (status, role) = gateway.send(Request::post("/rbac/roles", &body.to_string()));
    assert_eq!(status, 200, "{role}");
    text(&role, "id")
}

fn team(gateway: &Gateway, email: &str, members: &[&str]) -> String {
    let members: Vec<_> = members.iter().map(|email| json!({"email": email})).collect();
    let body = json!({"name": "t", "members": members}).to_string();
    let (status, team) = gateway.send_as(email, Request::post("/teams", &body));
    assert_eq!(status, 201, "{team}");
    text(&team, "id")
}

fn assign(gateway: &Gateway, by: Option<&str>, email: &str, body: &Value) -> (u16, Value) {
    let (path, body) = (format!("/rbac/users/{email}/roles"), body.to_string());
    match by {
        Some(by) => gateway.send_as(by, Request::post(&path, &body)),
        None => gateway.send(Request::post(&path, &body)),
    }
}

#[test]
fn a_role_permits_what_it_says_and_what_it_inherits() {
    let gateway = gateway();
    let base = json!({"name": "base", "scope": "global", "permissions": ["tools.create"]});
    let base = role(&gateway, &base);
    let body = json!({
        "name": "maker", "description": "makes", "scope": "global",
        "permissions": ["prompts.create", "prompts.create"], "inherits_from": base,
    });
    let id = role(&gateway, &body);
    let (_, shown) = gateway.send(Request::get(&format!("/rbac/roles/{id}")));
    assert_eq!(shown["permissions"], json!(["prompts.create"]));
    assert_eq!(shown["effective_permissions"], json!(["prompts.create", "tools.create"]));
    assert_eq!((&shown["is_system_role"], &shown["is_active"]), (&json!(false), &json!(true)));
    assert!(!gateway.login(BOB).may(Permission::ToolsCreate, Object::Nothing));
    let given = json!({"role_id": id, "scope": "global"});
    let (status, grant) = assign(&gateway, None, BOB, &given);
    assert_eq!(
        (status, &grant["role_name"], &grant["grant_source"]),
        (200, &json!("maker"), &json!("manual"))
    );
    assert!(gateway.login(BOB).may(Permission::ToolsCreate, Object::Nothing));
    assert_eq!(assign(&gateway, None, BOB, &given).0, 409);
    // What the role loses, its bearers lose at once.
    let body = json!({"inherits_from": null}).to_string();
    assert_eq!(gateway.send(Request::put(&format!("/rbac/roles/{id}"), &body)).0, 200);
    assert!(!gateway.login(BOB).may(Permission::ToolsCreate, Object::Nothing));
    assert!(gateway.login(BOB).may(Permission::PromptsCreate, Object::Nothing));
    assert_eq!(gateway.send(Request::delete(&format!("/rbac/roles/{id}"))).0, 200);
    assert!(!gateway.login(BOB).may(Permission::PromptsCreate, Object::Nothing));
    assert_eq!(gateway.catalog().people().grants_of(BOB).count(), 1);
}

#[test]
fn a_system_role_is_changed_by_nobody_and_a_role_that_others_need_stays() {
    let gateway = gateway();
    let viewer = roles::named("viewer").unwrap().id;
    let path = format!("/rbac/roles/{viewer}");
    assert_eq!(gateway.send(Request::put(&path, r#"{"description": "x"}"#)).0, 403);
    assert_eq!(gateway.send(Request::delete(&path)).0, 403);
    let base = role(&gateway, &json!({"name": "b", "scope": "team", "permissions": []}));
    let body = json!({"name": "c", "scope": "team", "permissions": [], "inherits_from": base});
    role(&gateway, &body);
    let (status, refused) = gateway.send(Request::delete(&format!("/rbac/roles/{base}")));
    assert_eq!(status, 409);
    assert!(refused["detail"].as_str().unwrap().ends_with("by: c"), "{refused}");
    let twin = json!({"name": "B", "scope": "team", "permissions": []}).to_string();
    assert_eq!(gateway.send(Request::post("/rbac/roles", &twin)).0, 409);
}

#[test]
fn a_permission_that_is_none_is_named_with_those_that_are_like_it() {
    let gateway = gateway();
    let body = json!({"name": "x", "scope": "global", "permissions": ["tools.reed"]}).to_string();
    let (status, refused) = gateway.send(Request::post("/rbac/roles", &body));
    assert_eq!(status, 422);
    let message = refused["detail"][0]["msg"].as_str().unwrap();
    assert!(message.contains("\"tools.reed\"; did you mean tools.read"), "{message}");
}

#[test]
fn roles_inherit_in_no_circle_and_not_for_ever() {
    let gateway = gateway();
    let make = |name: &str, parent: Option<&str>| {
        let mut body = json!({"name": name, "scope": "global", "permissions": []});
        body["inherits_from"] = json!(parent);
        gateway.send(Request::post("/rbac/roles", &body.to_string()))
    };
    let first = text(&make("r0", None).1, "id");
    let mut last = first.clone();
    for number in 1..8 {
        let (status, made) = make(&format!("r{number}"), Some(&last));
        assert_eq!(status, 200, "{made}");
        last = text(&made, "id");
    }
    assert_eq!(make("r8", Some(&last)).0, 422);
    let body = json!({"inherits_from": last}).to_string();
    let (status, refused) = gateway.send(Request::put(&format!("/rbac/roles/{first}"), &body));
    assert_eq!(status, 422);
    assert!(refused.to_string().contains("circle"), "{refused}");
    // A long chain does not grow at its other end either.
    let above = text(&make("above", None).1, "id");
    let body = json!({"inherits_from": above}).to_string();
    assert_eq!(gateway.send(Request::put(&format!("/rbac/roles/{first}"), &body)).0, 422);
    assert_eq!(make("lost", Some("nothing")).0, 422);
}

#[test]
fn nobody_gives_more_than_they_have() {
    let gateway = gateway();
    let manager = json!({
        "name": "manager", "scope": "global",
        "permissions": ["admin.user_management", "tools.read"],
    });
    let manager = role(&gateway, &manager);
    let reader = json!({"name": "reader", "scope": "global", "permissions": ["tools.read"]});
    let reader = role(&gateway, &reader);
    assert_eq!(assign(&gateway, None, ANN, &json!({"role_id": manager, "scope": "global"})).0, 200);
    assert_eq!(
        assign(&gateway, Some(ANN), BOB, &json!({"role_id": reader, "scope": "global"})).0,
        200
    );
    let all = roles::named("platform_admin").unwrap().id;
    let (status, refused) =
        assign(&gateway, Some(ANN), ANN, &json!({"role_id": all, "scope": "global"}));
    assert_eq!(status, 403);
    assert!(refused["detail"].as_str().unwrap().starts_with("Nobody gives more"), "{refused}");
    // Nor by making or changing a role.
    let body = json!({"name": "x", "scope": "global", "permissions": ["*"]}).to_string();
    assert_eq!(gateway.send_as(ANN, Request::post("/rbac/roles", &body)).0, 403);
    let body = json!({"permissions": ["admin.export"]}).to_string();
    let path = format!("/rbac/roles/{manager}");
    assert_eq!(gateway.send_as(ANN, Request::put(&path, &body)).0, 403);
    let body = json!({"inherits_from": all}).to_string();
    assert_eq!(gateway.send_as(ANN, Request::put(&path, &body)).0, 403);
}

#[test]
fn an_owner_gives_roles_in_their_team_and_nowhere_else() {
    let gateway = gateway();
    let id = team(&gateway, ANN, &[BOB]);
    let other = team(&gateway, BOB, &[]);
    let developer = roles::named("developer").unwrap().id;
    let given = json!({"role_id": developer, "scope": "team", "scope_id": id});
    assert_eq!(assign(&gateway, Some(BOB), BOB, &given).0, 403);
    assert_eq!(assign(&gateway, Some(ANN), BOB, &given).0, 200);
    let bob = gateway.login(BOB);
    let rights = bob.rights.team(&id).unwrap();
    assert!(rights.permissions.contains(Permission::ToolsCreate));
    for (scope_id, expected) in [(json!(other), 404), (json!("nothing"), 404), (json!(null), 403)] {
        let body = json!({"role_id": developer, "scope": "team", "scope_id": scope_id});
        assert_eq!(assign(&gateway, Some(ANN), BOB, &body).0, expected, "{scope_id}");
    }
    let all = roles::named("platform_viewer").unwrap().id;
    assert_eq!(
        assign(&gateway, Some(ANN), BOB, &json!({"role_id": all, "scope": "global"})).0,
        403
    );
    let wrong = json!({"role_id": developer, "scope": "global"});
    assert_eq!(assign(&gateway, None, BOB, &wrong).0, 422);
    // An owner sees what counts in their team; a member sees only their own.
    let path = format!("/rbac/users/{BOB}/roles");
    let names = |list: &Value| {
        let list = list.as_array().unwrap().iter();
        list.map(|role| (text(role, "role_name"), text(role, "grant_source"))).collect::<Vec<_>>()
    };
    let pair = |name: &str, source: &str| (name.to_owned(), source.to_owned());
    let (_, list) = gateway.send_as(ANN, Request::get(&path));
    assert_eq!(names(&list), [pair("developer", "manual"), pair("viewer", "membership")]);
    let (_, own) = gateway.send_as(BOB, Request::get("/rbac/my/roles"));
    assert_eq!(own.as_array().unwrap().len(), 4, "{own}");
    let ann = format!("/rbac/users/{ANN}/roles");
    let revoke = format!("{path}/{developer}?scope=team&scope_id={id}");
    assert_eq!(gateway.send_as(BOB, Request::delete(&revoke)).0, 403);
    assert_eq!(gateway.send_as(ANN, Request::delete(&revoke)).0, 200);
    assert_eq!(gateway.send_as(ANN, Request::delete(&revoke)).0, 404);
    assert!(gateway.send_as("stranger@example.com", Request::get(&ann)).0 == 403);
}

#[test]
fn a_role_that_ends_and_a_team_that_is_left_give_nothing() {
    let gateway = gateway();
    let id = team(&gateway, ANN, &[BOB]);
    let developer = roles::named("developer").unwrap().id;
    let mut given = json!({"role_id": developer, "scope": "team", "scope_id": id});
    given["expires_at"] = json!("2020-01-01T00:00:00Z");
    assert_eq!(assign(&gateway, None, BOB, &given).0, 422);
    given["expires_at"] = json!("2999-01-01T00:00:00");
    let (status, grant) = assign(&gateway, None, BOB, &given);
    assert_eq!(
        (status, text(&grant, "expires_at")),
        (200, "2999-01-01T00:00:00.000000Z".to_owned())
    );
    let people = gateway.catalog();
    assert_eq!(people.people().grants_of(BOB).count(), 2);
    let leave = format!("/teams/{id}/members/{BOB}");
    assert_eq!(gateway.send_as(ANN, Request::delete(&leave)).0, 200);
    assert_eq!(gateway.catalog().people().grants_of(BOB).count(), 1, "what counted there is gone");
}

#[test]
fn what_a_user_may_is_listed_and_checked() {
    let gateway = gateway();
    let id = team(&gateway, ANN, &[BOB]);
    let of = |target: &str| {
        let (status, list) = gateway.send(Request::get(target));
        assert_eq!(status, 200, "{list}");
        list.as_array()
            .unwrap()
            .iter()
            .map(|word| word.as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let anywhere = of(&format!("/rbac/permissions/user/{BOB}"));
    assert!(anywhere.contains(&"tools.execute".to_owned()) && anywhere.is_sorted());
    let owner = of(&format!("/rbac/permissions/user/{ANN}?team_id={id}"));
    assert!(owner.contains(&"teams.manage_members".to_owned()));
    assert_eq!(of("/rbac/my/permissions"), ["*"]);
    let (_, all) = gateway.send(Request::get("/rbac/permissions/available"));
    assert_eq!(all["total_count"], Permission::ALL.len());
    assert!(
        all["permissions_by_resource"]["tools"].as_array().unwrap().contains(&json!("tools.read"))
    );
    let check = |email: &str, permission: &str, team_id: Option<&str>| {
        let mut body = json!({"user_email": email, "permission": permission});
        body["team_id"] = json!(team_id);
        gateway.send(Request::post("/rbac/permissions/check", &body.to_string()))
    };
    assert_eq!(check(ANN, "teams.manage_members", Some(&id)).1["granted"], true);
    assert_eq!(check(BOB, "teams.manage_members", Some(&id)).1["granted"], false);
    assert_eq!(check(BOB, "tools.read", None).1["granted"], true);
    assert_eq!(check(BOB, "tools.fly", None).0, 422);
    assert_eq!(check(BOB, "tools.read", Some("nothing")).0, 404);
    let body = json!({"user_email": BOB, "permission": "tools.read"}).to_string();
    assert_eq!(gateway.send_as(BOB, Request::post("/rbac/permissions/check", &body)).0, 403);
}

#[test]
fn a_decision_is_explained_by_the_rule_that_made_it_and_by_those_that_would_have() {
    let gateway = gateway();
    let id = team(&gateway, ANN, &[]);
    let body =
        json!({"name": "own", "url": "http://x.example/y", "team_id": id, "visibility": "team"});
    assert_eq!(gateway.send_as(ANN, Request::post("/tools", &body.to_string())).0, 200);
    let why = |user: &str, action: &str, entity: &str| {
        let target = format!("/rbac/explain?user={user}&action={action}&entity={entity}");
        let (status, told) = gateway.send(Request::get(&target));
        assert_eq!(status, 200, "{told}");
        (text(&told, "rule"), text(&told, "explanation"), told["would_allow"].clone())
    };
    let (rule, sentence, _) = why(ANN, "call", "tool:own");
    assert_eq!(
        (rule.as_str(), sentence.as_str()),
        ("owner", "ann@example.com owns it, and may do everything with what is their own")
    );
    let (rule, sentence, remedies) = why(BOB, "tools.execute", "tool:own");
    assert_eq!(rule, "invisible");
    assert!(
        sentence.contains("shared in the team \"t\", which bob@example.com is not in"),
        "{sentence}"
    );
    let remedies: Vec<_> =
        remedies.as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    assert_eq!(remedies, ["being a member of the team \"t\"", "being an administrator"]);
    let (_, _, remedies) = why(BOB, "read", "tool:own");
    assert!(remedies.to_string().contains("making it public"), "{remedies}");
    let path = format!("/teams/{id}/members");
    let body = json!({"email": BOB}).to_string();
    assert_eq!(gateway.send_as(ANN, Request::post(&path, &body)).0, 201);
    let (rule, sentence, _) = why(BOB, "tools.execute", "tool:own");
    assert_eq!(rule, "team_role");
    assert_eq!(
        sentence,
        "the role viewer of bob@example.com in the team \"t\" permits tools.execute"
    );
    let (rule, _, remedies) = why(BOB, "update", "tools:own");
    assert_eq!(rule, "no_role");
    let named = remedies.to_string();
    for role in ["developer", "team_admin", "platform_admin"] {
        assert!(named.contains(&format!("the role {role}, given to count")), "{named}");
    }
    assert!(!named.contains("role viewer"), "{named}");
    let (rule, ..) = why("root@example.com", "read", &format!("team:{id}"));
    assert_eq!(rule, "invisible");
}

#[test]
fn only_auditors_ask_about_others_and_only_about_what_they_see() {
    let gateway = gateway();
    team(&gateway, ANN, &[]);
    let ask = |by: &str, target: &str| gateway.send_as(by, Request::get(target)).0;
    assert_eq!(ask(BOB, &format!("/rbac/explain?user={ANN}&action=tools.read")), 403);
    assert_eq!(ask(BOB, &format!("/rbac/explain?user={BOB}&action=tools.read")), 200);
    assert_eq!(ask(BOB, "/rbac/explain?action=tools.read"), 200);
    assert_eq!(ask(BOB, "/rbac/explain?action=read&entity=team:t"), 404);
    assert_eq!(ask(ANN, "/rbac/explain?action=read&entity=team:t"), 200);
    assert_eq!(ask(BOB, "/rbac/explain?action=tools.read&token=nothing"), 404);
    for target in
        ["/rbac/explain", "/rbac/explain?action=fly", "/rbac/explain?action=read&entity=x"]
    {
        assert_eq!(ask(BOB, target), 422, "{target}");
    }
}

#[test]
fn a_user_who_may_not_even_come_in_is_explained_as_such() {
    use storage::record::User;
    let gateway = gateway();
    let why = || {
        let target = format!("/rbac/explain?user={BOB}&action=tools.read");
        text(&gateway.send(Request::get(&target)).1, "rule")
    };
    let change = |change: &dyn Fn(&mut User)| {
        let mut user = User::clone(gateway.catalog().people().user_by_email(BOB).unwrap());
        change(&mut user);
        block_on(gateway.apply(vec![storage::Mutation::PutIdentity(user.into())])).unwrap();
    };
    assert_eq!(why(), "global_role");
    change(&|user| user.password_change_required = true);
    assert_eq!(why(), "password_change_required");
    change(&|user| user.is_active = false);
    assert_eq!(why(), "not_authenticated");
    let target = format!("/rbac/permissions/user/{BOB}");
    assert_eq!(gateway.send(Request::get(&target)).1, json!([]));
}

#[test]
fn a_token_that_says_less_is_explained_as_such() {
    use storage::record::{ApiToken, new_id};
    let gateway = gateway();
    let token = ApiToken {
        id: "k".repeat(32),
        jti: new_id(),
        user_email: BOB.to_owned(),
        name: "narrow".to_owned(),
        permissions: vec!["prompts.read".to_owned()],
        is_active: true,
        ..ApiToken::default()
    };
    let put = vec![storage::Mutation::PutIdentity(token.clone().into())];
    block_on(Backend::apply(&gateway, put)).unwrap();
    let target = format!("/rbac/explain?user={BOB}&action=tools.read&token={}", token.id);
    let (_, told) = gateway.send(Request::get(&target));
    assert_eq!((&told["allowed"], &told["rule"]), (&json!(false), &json!("token_scope")));
    assert_eq!(told["would_allow"], json!(["a token whose scopes hold tools.read"]));
    let off = ApiToken { is_active: false, ..token };
    let put = vec![storage::Mutation::PutIdentity(off.into())];
    block_on(Backend::apply(&gateway, put)).unwrap();
    let (_, told) = gateway.send(Request::get(&target));
    assert_eq!(told["rule"], "not_authenticated");
    assert!(text(&told, "explanation").contains("revoked"), "{told}");
}
