//! What comes with a new user: a team of their own, and a role.

use storage::Mutation;
use storage::record::{Grant, Member, Scope, Team, TeamRole, User, new_id, now};

use super::form::UserForm;
use super::hashing::hash;
use super::{Backend, IdentityRules};
use crate::catalog::{People, naming};
use crate::failure::Failure;

/// Makes a user with all that a user has: a team of their own, a role.
pub async fn make_user<B: Backend>(
    backend: &B,
    form: UserForm,
    provider: &str,
) -> Result<User, Failure> {
    let catalog = backend.catalog();
    if catalog.people().user_by_email(&form.email).is_some() {
        return Err(Failure::Conflict(format!("User already exists: {}", form.email)));
    }
    let hash = match form.password.clone() {
        Some(password) => Some(hash(backend, password).await?),
        None => None,
    };
    let at = now();
    let mut user = User {
        id: new_id(),
        email: form.email.clone(),
        is_active: true,
        auth_provider: provider.to_owned(),
        password_changed_at: hash.is_some().then_some(at),
        password_hash: hash,
        created_at: at,
        updated_at: at,
        version: 1,
        ..User::default()
    };
    form.apply(&mut user);
    let mutations = birth(&user, catalog.people(), &backend.rules().identity);
    backend.apply(mutations).await?;
    Ok(user)
}

/// The records that a new user comes with, and the user.
pub fn birth(user: &User, people: &People, rules: &IdentityRules) -> Vec<Mutation> {
    let at = user.created_at;
    let mut mutations = vec![Mutation::PutIdentity(user.clone().into())];
    if rules.personal_teams {
        let slug = format!("personal-{}", naming::slug(&user.email, "-"));
        // Addresses that differ in punctuation alone would have one slug.
        let is_taken = people.teams().any(|team| team.slug == slug);
        let slug = if is_taken { format!("{slug}-{}", &user.id[..8]) } else { slug };
        let name = user.full_name.as_deref().unwrap_or(&user.email);
        let team = Team {
            id: new_id(),
            name: format!("{name}'s Team"),
            slug,
            description: Some(format!("Personal workspace for {}", user.email)),
            created_by: user.email.clone(),
            is_personal: true,
            max_members: Some(1),
            is_active: true,
            created_at: at,
            updated_at: at,
            version: 1,
            ..Team::default()
        };
        let member = Member {
            id: new_id(),
            team_id: team.id.clone(),
            user_email: user.email.clone(),
            role: TeamRole::Owner,
            joined_at: at,
            invited_by: None,
            version: 1,
        };
        mutations.push(Mutation::PutIdentity(team.into()));
        mutations.push(Mutation::PutIdentity(member.into()));
    }
    let role = if user.is_admin { &rules.admin_role } else { &rules.user_role };
    if let Some(role) = people.role_named(role, Scope::Global) {
        let grant = Grant {
            id: new_id(),
            user_email: user.email.clone(),
            role_id: role.id.clone(),
            scope: Scope::Global,
            granted_by: "system".to_owned(),
            granted_at: at,
            version: 1,
            ..Grant::default()
        };
        mutations.push(Mutation::PutIdentity(grant.into()));
    }
    mutations
}
