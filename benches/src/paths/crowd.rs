//! Users, teams and roles as a large house has them, for the paths that decide who may do what.

use storage::Current;
use storage::record::{Grant, Identity, Member, Ownership, Role, Scope, Team, User, Visibility};

/// Teams of the large house.
const TEAM_COUNT: usize = 500;
/// Teams of each user.
const TEAMS_OF_USER: usize = 4;
/// The role that each user has in their teams.
const ROLE_ID: &str = "00000000000000000000000000000003";

/// The address of a user.
pub fn email(user: usize) -> String {
    format!("user-{user}@example.com")
}

fn id(kind: usize, number: usize) -> String {
    format!("{kind:08x}{number:024x}")
}

/// Whose a tool is: of one of the teams, and shared in it.
pub fn ownership(tool: usize) -> Ownership {
    Ownership {
        team_id: Some(id(1, tool % TEAM_COUNT)),
        owner_email: Some(email(tool)),
        visibility: Visibility::Team,
    }
}

/// The teams of a user: some that stand beside each other, so that every team has members.
fn teams_of(user: usize) -> impl Iterator<Item = usize> {
    (user + 7..user + 7 + TEAMS_OF_USER).map(|team| team % TEAM_COUNT)
}

/// The records of `user_count` users, of their teams, and of their roles there.
///
/// The first user has the same teams and roles, however many others there are.
pub fn records(user_count: usize) -> Vec<Current> {
    let mut teams: Vec<usize> = (0..user_count).flat_map(teams_of).collect();
    teams.sort_unstable();
    teams.dedup();
    let teams = teams.into_iter().map(|team| Identity::from(the_team(team)));
    let users = (0..user_count).flat_map(|user| {
        let places = teams_of(user).enumerate().flat_map(move |(place, team)| {
            let number = user * TEAMS_OF_USER + place;
            [Identity::from(membership(number, user, team)), grant(number, user, team).into()]
        });
        std::iter::once(Identity::from(the_user(user))).chain(places)
    });
    let role = std::iter::once(Identity::from(role()));
    role.chain(teams).chain(users).map(Current::Identity).collect()
}

fn the_team(team: usize) -> Team {
    let name = format!("team-{team}");
    Team { id: id(1, team), slug: name.clone(), name, is_active: true, ..Team::default() }
}

fn the_user(user: usize) -> User {
    User { id: id(2, user), email: email(user), is_active: true, ..User::default() }
}

fn membership(number: usize, user: usize, team: usize) -> Member {
    let (team_id, user_email) = (id(1, team), email(user));
    Member { id: id(3, number), team_id, user_email, ..Member::default() }
}

fn grant(number: usize, user: usize, team: usize) -> Grant {
    Grant {
        id: id(4, number),
        user_email: email(user),
        role_id: ROLE_ID.to_owned(),
        scope: Scope::Team,
        scope_id: Some(id(1, team)),
        ..Grant::default()
    }
}

fn role() -> Role {
    Role {
        id: ROLE_ID.to_owned(),
        name: "developer".to_owned(),
        scope: Scope::Team,
        permissions: ["tools.read", "tools.execute"].map(str::to_owned).to_vec(),
        is_active: true,
        ..Role::default()
    }
}
