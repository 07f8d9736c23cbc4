//! `ringway user`: the users of the database, without a gateway that runs and without a login.
//!
//! It is the way back in for whoever has locked themselves out. Gateways that run on the database
//! learn of each change as of any other.

use std::fmt;
use std::io::{self, BufRead, Write};

use shards::{Driver, runtime};
use storage::record::{Entity, User, new_id, now};
use storage::{Mutation, Store, StoreError};

use crate::admin::{self, IdentityRules};
use crate::auth::{KeyError, password, secret};
use crate::catalog::People;
use crate::settings::Settings;

/// Lists the users of the database, makes one, gives one a password, or switches one off or on.
#[derive(Debug, clap::Args)]
pub struct UserArgs {
    #[command(subcommand)]
    deed: Deed,
}

#[derive(Debug, clap::Subcommand)]
enum Deed {
    /// List the users.
    List,
    /// Make a user; the password is a line of the standard input, and made up if that is empty.
    Add {
        /// The address.
        email: String,
        /// Let them command the gateway.
        #[arg(long)]
        admin: bool,
        /// The name for people.
        #[arg(long, value_name = "NAME")]
        full_name: Option<String>,
    },
    /// Give a user another password, as `add` does, and unlock them; their tokens of before end.
    Password {
        /// The address.
        email: String,
    },
    /// Switch a user off: they may do nothing from then on.
    Disable {
        /// The address.
        email: String,
    },
    /// Switch a user on again.
    Enable {
        /// The address.
        email: String,
    },
}

/// Why nothing was done.
#[derive(Debug)]
pub enum UserError {
    /// The data folder cannot be made.
    Folder(KeyError),
    /// The database cannot be read or written.
    Store(StoreError),
    /// The terminal cannot be read or written.
    Terminal(io::Error),
    /// What is asked for cannot be done: a sentence.
    Refused(String),
}

impl fmt::Display for UserError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UserError::Folder(error) => error.fmt(out),
            UserError::Store(error) => error.fmt(out),
            UserError::Terminal(error) => write!(out, "The terminal cannot be used: {error}"),
            UserError::Refused(sentence) => out.write_str(sentence),
        }
    }
}

impl std::error::Error for UserError {}

impl From<StoreError> for UserError {
    fn from(error: StoreError) -> UserError {
        UserError::Store(error)
    }
}

impl From<io::Error> for UserError {
    fn from(error: io::Error) -> UserError {
        UserError::Terminal(error)
    }
}

/// Does what was asked for, and says on `out` what came of it.
///
/// # Errors
///
/// [`UserError`]: print it and exit with 1.
pub fn run(
    args: &UserArgs,
    settings: &Settings,
    input: &mut impl BufRead,
    out: &mut impl Write,
) -> Result<(), UserError> {
    secret::make_folder(&settings.storage.data_dir).map_err(UserError::Folder)?;
    let (store, _) = Store::open(&settings.store_options(1)?)?;
    let done = people(&store).and_then(|people| {
        act(&args.deed, &store, &people, &IdentityRules::new(settings), input, out)
    });
    let closed = wait(async move {
        store.close().await;
        Ok(())
    });
    done.and(closed)
}

fn people(store: &Store) -> Result<People, UserError> {
    let store = store.clone();
    let snapshot = wait(async move { store.load().await })?;
    let mut people = People::default();
    for identity in snapshot.identities {
        people.put(identity);
    }
    Ok(people)
}

fn apply(store: &Store, mutations: Vec<Mutation>) -> Result<(), UserError> {
    let store = store.clone();
    wait(async move { store.apply(mutations).await.map(|_| ()) })
}

fn wait<T: 'static>(
    work: impl Future<Output = Result<T, StoreError>> + 'static,
) -> Result<T, UserError> {
    let done = runtime::block_on(Driver::Epoll, work);
    let failed = |error| UserError::Refused(format!("The runtime cannot be started: {error}"));
    Ok(done.map_err(failed)??)
}

fn act(
    deed: &Deed,
    store: &Store,
    people: &People,
    rules: &IdentityRules,
    input: &mut impl BufRead,
    out: &mut impl Write,
) -> Result<(), UserError> {
    match deed {
        Deed::List => list(people, out),
        Deed::Add { email, admin, full_name } => {
            let email = email.to_lowercase();
            if !admin::is_email(&email) {
                return Err(UserError::Refused(format!("{email:?} is no address")));
            }
            if people.user_by_email(&email).is_some() {
                return Err(UserError::Refused(format!("There is a user {email} already")));
            }
            let mut user = made(email, *admin, full_name.clone());
            choose_password(&mut user, rules, input, out)?;
            apply(store, admin::birth(&user, people, rules))?;
            Ok(writeln!(out, "Made the user {}.", user.email)?)
        }
        Deed::Password { email } => {
            let stored = find(people, email)?;
            let mut user = User::clone(stored);
            choose_password(&mut user, rules, input, out)?;
            change(store, stored, user)?;
            Ok(writeln!(out, "{} has another password.", stored.email)?)
        }
        Deed::Disable { email } => set_active(store, people, email, false, out),
        Deed::Enable { email } => set_active(store, people, email, true, out),
    }
}

fn list(people: &People, out: &mut impl Write) -> Result<(), UserError> {
    let mut users: Vec<_> = people.users().collect();
    users.sort_by(|a, b| a.email.cmp(&b.email));
    for user in users {
        let kind = if user.is_admin { "administrator" } else { "user" };
        let is_locked = user.locked_until.is_some_and(|until| until > now());
        let state = match (user.is_active, is_locked) {
            (false, _) => "disabled",
            (true, true) => "locked",
            (true, false) => "active",
        };
        writeln!(out, "{}\t{kind}\t{state}", user.email)?;
    }
    Ok(())
}

fn made(email: String, is_admin: bool, full_name: Option<String>) -> User {
    let at = now();
    User {
        id: new_id(),
        email,
        full_name,
        is_admin,
        is_active: true,
        auth_provider: "local".to_owned(),
        created_at: at,
        updated_at: at,
        version: 1,
        ..User::default()
    }
}

/// Reads a password, or makes one up, which its user must then change.
fn choose_password(
    user: &mut User,
    rules: &IdentityRules,
    input: &mut impl BufRead,
    out: &mut impl Write,
) -> Result<(), UserError> {
    let mut line = String::new();
    input.read_line(&mut line)?;
    let typed = line.trim_end_matches(['\r', '\n']);
    let is_generated = typed.is_empty();
    let chosen = if is_generated { password::generate() } else { typed.to_owned() };
    if !is_generated {
        rules.passwords.check(&chosen, &user.email).map_err(UserError::Refused)?;
    }
    admin::set_password(user, &rules.passwords.hash(&chosen), is_generated);
    if is_generated {
        writeln!(out, "The password is {chosen}; it must be changed at the first login.")?;
    }
    Ok(())
}

fn find<'p>(people: &'p People, email: &str) -> Result<&'p User, UserError> {
    let found = people.user_by_email(email);
    found.map(|user| &**user).ok_or_else(|| UserError::Refused(format!("There is no user {email}")))
}

fn set_active(
    store: &Store,
    people: &People,
    email: &str,
    is_active: bool,
    out: &mut impl Write,
) -> Result<(), UserError> {
    let stored = find(people, email)?;
    if !is_active && admin::is_last_admin(people, stored) {
        let text = format!("{} is the last active administrator; make another first", stored.email);
        return Err(UserError::Refused(text));
    }
    let mut user = User::clone(stored);
    user.is_active = is_active;
    change(store, stored, user)?;
    let state = if is_active { "on" } else { "off" };
    Ok(writeln!(out, "{} is switched {state}.", stored.email)?)
}

/// Writes a user, unless somebody else did so since they were read.
fn change(store: &Store, stored: &User, mut user: User) -> Result<(), UserError> {
    user.updated_at = now();
    user.version += 1;
    let (entity, id, version) = (Entity::User, stored.id.clone(), stored.version);
    let expected = Mutation::Expect { entity, id, version };
    apply(store, vec![expected, Mutation::PutIdentity(user.into())])
}
