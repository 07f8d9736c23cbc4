//! What the settings decide about teams.

use crate::settings::Settings;

/// Which teams there can be, and who may be in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TeamRules {
    /// Whether users may make teams.
    pub creation_allowed: bool,
    /// Whether people may be invited.
    pub invitations_allowed: bool,
    /// Whether users may ask to be let in.
    pub join_requests_allowed: bool,
    /// The most teams that a user may be in, without their own.
    pub team_count_max: usize,
    /// The most members of a team that says nothing else.
    pub member_count_max: usize,
    /// The most people that are named when a team is made.
    pub seed_count_max: usize,
    /// How long invitations and requests to join are good, in microseconds.
    pub invitation_lifetime: i64,
}

impl TeamRules {
    /// Takes from the settings what concerns teams.
    pub fn new(settings: &Settings) -> TeamRules {
        /// Microseconds of a day.
        const DAY: i64 = 24 * 60 * 60 * 1_000_000;
        let teams = &settings.teams;
        let days = i64::try_from(teams.invitation_days).unwrap_or(i64::MAX);
        TeamRules {
            creation_allowed: teams.creation_allowed,
            invitations_allowed: teams.invitations_allowed,
            join_requests_allowed: teams.join_requests_allowed,
            team_count_max: teams.team_count_max,
            member_count_max: teams.member_count_max,
            seed_count_max: teams.seed_count_max,
            invitation_lifetime: days.saturating_mul(DAY),
        }
    }
}
