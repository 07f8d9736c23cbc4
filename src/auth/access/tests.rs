use super::*;
use crate::auth::{Caller, Teams};

fn caller(rights: Rights) -> Caller {
    Caller { email: "a@x".to_owned(), teams: Teams::Absent, rights, ..Caller::nobody() }
}

fn set(permissions: &[Permission]) -> PermissionSet {
    PermissionSet::of(permissions)
}

fn owned(team_id: Option<&str>, owner: &str, visibility: Visibility) -> Ownership {
    let (team_id, owner_email) = (team_id.map(str::to_owned), Some(owner.to_owned()));
    Ownership { team_id, owner_email, visibility }
}

/// The rules once more, in the most plain words, to hold every combination against.
fn expected(
    rights: &Rights,
    permission: Permission,
    (team_id, is_own, visibility): (Option<&str>, bool, Visibility),
) -> Result<(), bool> {
    let in_team = rights.teams.iter().find(|team| Some(&*team.team_id) == team_id);
    let own = is_own && rights.sees_own;
    let visible = match visibility {
        Visibility::Public => true,
        Visibility::Team => own || in_team.is_some(),
        Visibility::Private => own,
    };
    let by_role = rights.global.contains(permission)
        || in_team.is_some_and(|team| team.permissions.contains(permission))
        || visibility == Visibility::Public
            && permission.is_use()
            && rights.anywhere.contains(permission);
    match rights.mask.contains(permission) {
        false => Err(true),
        true if rights.unrestricted => Ok(()),
        true if !visible => Err(false),
        true if own || by_role => Ok(()),
        true => Err(true),
    }
}

/// Every combination of token, role, team, owner, visibility and deed: 2,304 decisions.
#[test]
fn every_combination_is_decided_as_the_rules_say() {
    use Permission::{AdminExport, ToolsExecute, ToolsUpdate};
    let all = [ToolsExecute, ToolsUpdate, AdminExport];
    let sets = [PermissionSet::EMPTY, set(&[ToolsExecute]), set(&all)];
    let mut count = 0;
    for (unrestricted, sees_own) in [(false, false), (false, true), (true, true)] {
        for mask in [PermissionSet::ALL, set(&[ToolsExecute])] {
            for global in sets {
                for of_team in sets {
                    let team_id = "t1".into();
                    let teams = vec![TeamRights { team_id, permissions: of_team }];
                    let anywhere = global | of_team;
                    let rights = Rights { unrestricted, mask, global, teams, anywhere, sees_own };
                    count += check(&rights, &all);
                }
            }
        }
    }
    assert_eq!(count, 54 * 3 * 18);
}

fn check(rights: &Rights, permissions: &[Permission]) -> usize {
    let mut count = 0;
    for permission in permissions {
        for visibility in Visibility::ALL {
            for team_id in [None, Some("t1"), Some("t2")] {
                for is_own in [false, true] {
                    let caller = caller(rights.clone());
                    let owner = if is_own { "A@x" } else { "z@x" };
                    let thing = owned(team_id, owner, *visibility);
                    let found = match decide(&caller, *permission, &thing) {
                        Verdict::Allow(_) => Ok(()),
                        Verdict::Deny(reason) => Err(reason != Reason::Invisible),
                    };
                    let wanted = expected(rights, *permission, (team_id, is_own, *visibility));
                    assert_eq!(found, wanted, "{rights:?} {permission} {thing:?}");
                    count += 1;
                }
            }
        }
    }
    count
}

#[test]
fn what_is_about_the_gateway_needs_a_role_that_counts_everywhere() {
    let permissions = set(&[Permission::AdminExport, Permission::ToolsCreate]);
    let teams = vec![TeamRights { team_id: "t".into(), permissions }];
    let of_team = caller(Rights { teams, anywhere: permissions, ..Rights::none() });
    assert!(of_team.may(Permission::ToolsCreate, Object::Nothing));
    assert!(!of_team.may(Permission::AdminExport, Object::Nothing));
    let everywhere = caller(Rights { global: permissions, ..Rights::none() });
    assert!(everywhere.may(Permission::AdminExport, Object::Nothing));
}

#[test]
fn a_decision_says_why() {
    let nobody = caller(Rights::none());
    let public = owned(None, "z@x", Visibility::Public);
    let verdict = decide(&nobody, Permission::ToolsRead, &public);
    let Verdict::Deny(reason) = verdict else { panic!("{verdict:?}") };
    assert_eq!(reason.to_string(), "Insufficient permissions. Required: tools.read");
    let own = owned(None, "a@x", Visibility::Private);
    let verdict = decide(&nobody, Permission::ToolsRead, &own);
    assert_eq!(verdict, Verdict::Deny(Reason::Invisible));
    let operator = Caller::operator();
    assert_eq!(decide(&operator, Permission::ToolsRead, &own), Verdict::Allow(Rule::Administrator));
}
