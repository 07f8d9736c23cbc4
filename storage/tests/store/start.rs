//! Opening: the file, its migrations, and many who start at once.

use std::os::unix::fs::PermissionsExt;

use storage::{Location, MigrationReport, Store, StoreError, StoreOptions, migrate, pending};

use crate::harness::*;

/// How many migrations there are, by asking for those of a database that does not exist.
fn migration_count() -> i64 {
    pending(&StoreOptions::new(Location::SqliteMemory)).unwrap().len() as i64
}

fn a_first_start_migrates_and_a_second_finds_nothing_to_do(backend: Backend) {
    let fixture = Fixture::on(backend);
    assert_eq!(pending(&fixture.options).unwrap()[0], "V0001__initial");
    let is_made = match backend {
        Backend::Sqlite => fixture.path().exists(),
        Backend::Postgres(_) => fixture.table_count() > 0,
    };
    assert!(!is_made, "asking makes nothing");
    let (_store, report) = Store::open(&fixture.options).unwrap();
    assert_eq!((report.from, report.to), (0, migration_count()));
    assert_eq!(report.applied[0], "V0001__initial");
    let (_store, report) = Store::open(&fixture.options).unwrap();
    let to = migration_count();
    assert_eq!(report, MigrationReport { from: to, to, applied: Vec::new() });
    assert!(pending(&fixture.options).unwrap().is_empty());
}

fn without_migrating_at_start_it_says_which_command_to_run(backend: Backend) {
    let mut fixture = Fixture::on(backend);
    fixture.options.migrate_on_start = false;
    let error = Store::open(&fixture.options).unwrap_err();
    assert!(matches!(error, StoreError::MigrationsPending { .. }));
    assert!(error.to_string().contains("`ringway migrate`"), "{error}");
    let report = migrate(&fixture.options).unwrap();
    assert_eq!(report.from, 0);
    Store::open(&fixture.options).unwrap();
}

#[test]
fn the_files_are_for_their_owner_only() {
    let fixture = Fixture::on(Backend::Sqlite);
    let store = fixture.open();
    apply(&store, registry()).unwrap();
    let mut count = 0;
    for entry in std::fs::read_dir(fixture.path().parent().unwrap()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.file_name());
        count += 1;
    }
    assert!(count >= 2, "the database and its log");
}

fn a_database_of_a_newer_program_is_refused_and_left_alone(backend: Backend) {
    let fixture = Fixture::on(backend);
    block_on(fixture.open().close());
    let newer = migration_count() + 1;
    fixture
        .run(&format!("INSERT INTO ringway_migrations VALUES ({newer}, 'V9999__later', 'abc', 0)"));
    let expected = StoreError::DatabaseNewer { found: newer, known: migration_count() };
    assert_eq!(Store::open(&fixture.options).unwrap_err(), expected);
    assert_eq!(migrate(&fixture.options).unwrap_err(), expected);
    assert_eq!(pending(&fixture.options).unwrap_err(), expected);
}

fn a_migration_that_is_not_the_one_that_ran_is_refused(backend: Backend) {
    let fixture = Fixture::on(backend);
    block_on(fixture.open().close());
    fixture.run("UPDATE ringway_migrations SET checksum = 'x'");
    let error = Store::open(&fixture.options).unwrap_err();
    assert_eq!(error, StoreError::MigrationChanged { name: "V0001__initial".to_owned() });
}

/// `DATABASE_URL=sqlite:///./mcp.db` is also where ContextForge keeps its own.
fn a_database_of_another_program_is_refused_and_left_alone(backend: Backend) {
    let fixture = Fixture::on(backend);
    fixture.run("CREATE TABLE gateways (id TEXT)");
    let error = Store::open(&fixture.options).unwrap_err();
    assert!(matches!(&error, StoreError::DatabaseForeign { table, .. } if table == "gateways"));
    assert!(error.to_string().contains("name another file"), "{error}");
    assert_eq!(fixture.table_count(), 1);
}

#[test]
fn what_cannot_be_opened_says_where_and_why() {
    let mut fixture = Fixture::on(Backend::Sqlite);
    let missing = fixture.path().parent().unwrap().join("no/such/mcp.db");
    fixture.options.location = Location::SqliteFile(missing.clone());
    let error = Store::open(&fixture.options).unwrap_err().to_string();
    assert!(error.contains(missing.to_str().unwrap()) && error.contains("No such file"), "{error}");

    let fixture = Fixture::on(Backend::Sqlite);
    std::fs::write(fixture.path(), "this is a letter, not a database; ".repeat(100)).unwrap();
    let error = Store::open(&fixture.options).unwrap_err();
    assert!(error.to_string().contains("not a database"), "{error}");
}

fn a_cell_that_something_else_wrote_is_named(backend: Backend) {
    let fixture = Fixture::on(backend);
    let store = fixture.open();
    apply(&store, registry()).unwrap();
    fixture.run("UPDATE gateways SET transport = 'PIGEON'");
    let error = block_on(store.load()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "gateways.transport holds what was never written there: \"PIGEON\" is not a Transport"
    );
    // One bad row does not break the thread.
    block_on(store.ping()).unwrap();
}

fn of_many_threads_that_start_at_once_one_migrates(backend: Backend) {
    let fixture = Fixture::on(backend);
    let barrier = std::sync::Barrier::new(8);
    let applied: usize = std::thread::scope(|scope| {
        let start = || {
            barrier.wait();
            Store::open(&fixture.options).unwrap().1.applied.len()
        };
        let starters: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
        starters.into_iter().map(|starter| starter.join().unwrap()).sum()
    });
    assert_eq!(applied as i64, migration_count());
}

fn of_twenty_processes_that_start_at_once_one_migrates_and_all_come_up(backend: Backend) {
    let fixture = Fixture::on(backend);
    let children: Vec<_> =
        (0..20).map(|_| start_child("start::opens_and_tells_what_it_migrated", &fixture)).collect();
    let mut migrated = 0;
    for child in children {
        let output = child.wait_with_output().unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{told}");
        migrated += told.matches("migrated V0001__initial").count();
    }
    assert_eq!(migrated, 1);
    assert!(pending(&fixture.options).unwrap().is_empty());
}

#[test]
#[ignore = "a child of the test above"]
fn opens_and_tells_what_it_migrated() {
    let (store, report) = Store::open(&child_options()).unwrap();
    for name in report.applied {
        println!("migrated {name}");
    }
    block_on(store.load()).unwrap();
}

on_every_backend! {
    a_first_start_migrates_and_a_second_finds_nothing_to_do,
    without_migrating_at_start_it_says_which_command_to_run,
    a_database_of_a_newer_program_is_refused_and_left_alone,
    a_migration_that_is_not_the_one_that_ran_is_refused,
    a_cell_that_something_else_wrote_is_named,
    of_many_threads_that_start_at_once_one_migrates,
    of_twenty_processes_that_start_at_once_one_migrates_and_all_come_up,
    a_database_of_another_program_is_refused_and_left_alone,
}
