//! The versions of the tables: which migrations there are, which a database still needs.
//!
//! The runner is ours. `refinery` would bring its own drivers for both databases, of versions that
//! must match ours, and its lock is not one that twenty starters may wait on; what is needed is a
//! table of four columns and a comparison. Migrations go forward only: the way back is the backup.

use aws_lc_rs::digest;

use crate::error::StoreError;

/// The table that records which migrations ran.
pub(crate) const MIGRATION_TABLE: &str = "ringway_migrations";

/// Makes the table that records which migrations ran.
pub(crate) const MIGRATION_TABLE_SQL: &str = "CREATE TABLE IF NOT EXISTS ringway_migrations (
    version BIGINT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    applied_at BIGINT NOT NULL
)";

/// One step from a version of the tables to the next.
pub(crate) struct Migration {
    pub version: i64,
    pub name: &'static str,
    pub sql: &'static str,
}

/// Every migration, oldest first. A file that was released is never changed; a new one follows.
pub(crate) const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "V0001__initial",
        sql: include_str!("../migrations/V0001__initial.sql"),
    },
    Migration {
        version: 2,
        name: "V0002__leases",
        sql: include_str!("../migrations/V0002__leases.sql"),
    },
    Migration {
        version: 3,
        name: "V0003__registry",
        sql: include_str!("../migrations/V0003__registry.sql"),
    },
    Migration {
        version: 4,
        name: "V0004__metrics",
        sql: include_str!("../migrations/V0004__metrics.sql"),
    },
    Migration {
        version: 5,
        name: "V0005__identity",
        sql: include_str!("../migrations/V0005__identity.sql"),
    },
    Migration {
        version: 6,
        name: "V0006__audit",
        sql: include_str!("../migrations/V0006__audit.sql"),
    },
    Migration {
        version: 7,
        name: "V0007__token_usage",
        sql: include_str!("../migrations/V0007__token_usage.sql"),
    },
    Migration {
        version: 8,
        name: "V0008__oauth",
        sql: include_str!("../migrations/V0008__oauth.sql"),
    },
    Migration {
        version: 9,
        name: "V0009__sessions",
        sql: include_str!("../migrations/V0009__sessions.sql"),
    },
];

const _: () = {
    // The version of a database is the count of what ran on it, so there may be no gap.
    let mut index = 0;
    while index < MIGRATIONS.len() {
        assert!(MIGRATIONS[index].version == index as i64 + 1);
        index += 1;
    }
};

impl Migration {
    /// The SHA-256 of the file, in hexadecimal.
    pub fn checksum(&self) -> String {
        let digest = digest::digest(&digest::SHA256, self.sql.as_bytes());
        digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A migration that ran on a database, as its table says.
pub(crate) struct Ran {
    pub version: i64,
    pub checksum: String,
}

/// What a migration run did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationReport {
    /// The version of the tables before; 0 for an empty database.
    pub from: i64,
    /// The version of the tables now.
    pub to: i64,
    /// The migrations that ran, in order; none if another process was first.
    pub applied: Vec<&'static str>,
}

impl MigrationReport {
    pub(crate) fn of(applied: &[Migration]) -> MigrationReport {
        let known = MIGRATIONS.len() as i64;
        MigrationReport {
            from: known - applied.len() as i64,
            to: known,
            applied: applied.iter().map(|migration| migration.name).collect(),
        }
    }
}

/// The migrations that a database still needs, given those that ran on it, oldest first.
///
/// # Errors
///
/// [`StoreError::DatabaseNewer`] if something ran that is not known here, and
/// [`StoreError::MigrationChanged`] if something else ran under a name that is.
pub(crate) fn missing(ran: &[Ran]) -> Result<&'static [Migration], StoreError> {
    let known = MIGRATIONS.len() as i64;
    let found = ran.last().map_or(0, |last| last.version);
    if found > known {
        return Err(StoreError::DatabaseNewer { found, known });
    }
    for (ran, migration) in ran.iter().zip(MIGRATIONS) {
        if ran.version != migration.version || ran.checksum != migration.checksum() {
            return Err(StoreError::MigrationChanged { name: migration.name.to_owned() });
        }
    }
    Ok(&MIGRATIONS[ran.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(version: i64, checksum: &str) -> Ran {
        Ran { version, checksum: checksum.to_owned() }
    }

    #[test]
    fn an_empty_database_misses_everything_and_a_full_one_nothing() {
        assert_eq!(missing(&[]).unwrap().len(), MIGRATIONS.len());
        let all: Vec<Ran> = MIGRATIONS.iter().map(|m| ran(m.version, &m.checksum())).collect();
        assert!(missing(&all).unwrap().is_empty());
    }

    #[test]
    fn a_newer_database_is_refused_with_both_versions_and_the_mend() {
        let mut all: Vec<Ran> = MIGRATIONS.iter().map(|m| ran(m.version, &m.checksum())).collect();
        all.push(ran(MIGRATIONS.len() as i64 + 1, "ab"));
        let error = missing(&all).err().unwrap().to_string();
        assert!(error.contains("start a program at least as new"), "{error}");
    }

    #[test]
    fn a_migration_that_was_changed_after_it_ran_is_named() {
        let error = missing(&[ran(1, "another")]).err().unwrap();
        assert_eq!(error, StoreError::MigrationChanged { name: "V0001__initial".to_owned() });
    }

    /// A file that nobody lists would silently never run.
    #[test]
    fn every_file_in_the_folder_is_listed() {
        // Tests run in the folder of their package.
        let mut names: Vec<String> = std::fs::read_dir("migrations")
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let listed: Vec<String> = MIGRATIONS.iter().map(|m| format!("{}.sql", m.name)).collect();
        assert_eq!(names, listed);
    }
}
