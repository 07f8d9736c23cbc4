//! `ringway migrate`: brings the database up to date.

use std::fmt;

use storage::StoreError;

use crate::{
    auth::{KeyError, secret},
    settings::Settings,
};

/// Brings the database up to date, or checks whether it is.
#[derive(Debug, clap::Args)]
pub struct MigrateArgs {
    /// Change nothing; exit with 1 if there is something to do.
    #[arg(long)]
    pub check: bool,
}

/// Why the database is not up to date.
#[derive(Debug)]
pub enum MigrateError {
    /// The data folder cannot be made.
    Folder(KeyError),
    /// The database cannot be brought up to date.
    Store(StoreError),
    /// Only checked: these migrations are missing.
    Pending(Vec<&'static str>),
}

impl fmt::Display for MigrateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MigrateError::Folder(error) => error.fmt(f),
            MigrateError::Store(error) => error.fmt(f),
            MigrateError::Pending(names) => {
                write!(f, "missing migrations: {}; run `ringway migrate`", names.join(", "))
            }
        }
    }
}

impl std::error::Error for MigrateError {}

/// Migrates, or checks, and says what came of it on the standard output.
///
/// # Errors
///
/// [`MigrateError`]: print it and exit with 1.
pub fn run(args: &MigrateArgs, settings: &Settings) -> Result<(), MigrateError> {
    secret::make_folder(&settings.storage.data_dir).map_err(MigrateError::Folder)?;
    let options = settings.store_options(1).map_err(MigrateError::Store)?;
    if args.check {
        let pending = storage::pending(&options).map_err(MigrateError::Store)?;
        if !pending.is_empty() {
            return Err(MigrateError::Pending(pending));
        }
        println!("The database is up to date.");
        return Ok(());
    }
    let report = storage::migrate(&options).map_err(MigrateError::Store)?;
    match report.applied.is_empty() {
        true => println!("The database is up to date (version {}).", report.to),
        false => println!("Migrated the database from {} to {}.", report.from, report.to),
    }
    Ok(())
}
