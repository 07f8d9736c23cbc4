//! `ringway user`: the way back in for whoever has the machine.

use super::{ANN, PASSWORD, PATIENCE, ROOT, cli, done, login, session_of, start, status};
use crate::harness::eventually;

#[test]
fn makes_lists_and_switches_users_and_the_running_gateway_hears_of_it() {
    let gateway = start();
    assert_eq!(done(&cli(&gateway, &["add", ANN], PASSWORD)), format!("Made the user {ANN}.\n"));
    let token = session_of(&gateway, ANN, PASSWORD);
    let listed = done(&cli(&gateway, &["list"], ""));
    assert_eq!(listed, format!("{ROOT}\tadministrator\tactive\n{ANN}\tuser\tactive\n"));
    done(&cli(&gateway, &["disable", ANN], ""));
    eventually("the user to be off", PATIENCE, || (status(&gateway, &token) == 401).then_some(()));
    assert!(done(&cli(&gateway, &["list"], "")).contains(&format!("{ANN}\tuser\tdisabled\n")));
    done(&cli(&gateway, &["enable", ANN], ""));
    session_of(&gateway, ANN, PASSWORD);
}

#[test]
fn gives_a_password_that_is_typed_or_made_up_and_unlocks() {
    let gateway = start();
    for _ in 0..5 {
        login(&gateway, ROOT, "wrong").expect(401);
    }
    login(&gateway, ROOT, PASSWORD).expect(401);
    let made = done(&cli(&gateway, &["password", ROOT], ""));
    let password = made.split(" is ").nth(1).and_then(|rest| rest.split(';').next());
    let password = password.unwrap_or_else(|| panic!("no password in {made}"));
    let begun = eventually("the password", PATIENCE, || {
        let answer = login(&gateway, ROOT, password);
        (answer.status == 200).then(|| answer.json())
    });
    assert_eq!(begun["user"]["password_change_required"], true);
    done(&cli(&gateway, &["password", ROOT], "Chosen-By-Hand-3"));
    session_of(&gateway, ROOT, "Chosen-By-Hand-3");
    login(&gateway, ROOT, password).expect(401);
}

#[test]
fn refuses_what_the_api_would_refuse_and_says_why() {
    let gateway = start();
    for (arguments, line, expected) in [
        (["add", "no address"], PASSWORD, "is no address"),
        (["add", ROOT], PASSWORD, "There is a user admin@example.com already"),
        (["add", ANN], "short", "at least 8 characters"),
        (["password", ANN], PASSWORD, "There is no user ann@example.com"),
        (["disable", ROOT], "", "last active administrator"),
    ] {
        let output = cli(&gateway, &arguments, line);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {told}");
        assert!(told.contains(expected), "{arguments:?}: {told}");
    }
}
