//! A child that speaks stdio.

use std::{cell::RefCell, process::Command, rc::Rc};

use shards::{child, task};

use super::{
    Program, STOP_PATIENCE,
    local::{Inlet, Outlet, Source, Target},
};
use crate::upstream::stdio::{check_command, stderr::Stderr};

/// A running child. Dropped, it is killed.
pub(super) struct Child {
    /// Where its messages go.
    pub(super) outlet: Rc<Outlet>,
    process: RefCell<Option<child::Child>>,
}

impl Child {
    /// Starts a program; gives where its messages come from, too. What it writes to its standard
    /// error is logged.
    ///
    /// # Errors
    ///
    /// A sentence for whoever named the program.
    pub(super) fn start(program: &Program) -> Result<(Rc<Child>, Inlet), String> {
        check_command(&program.words)?;
        let mut command = Command::new(&program.words[0]);
        command.args(&program.words[1..]).envs(&program.environment);
        let spawned = child::spawn(command)
            .map_err(|error| format!("{:?} cannot be started: {error}", program.words[0]))?;
        let stderr = Rc::new(Stderr::new(program.words[0].as_str().into()));
        task::spawn(stderr.follow(spawned.errors));
        let outlet = Outlet::new(Target::Child(spawned.input));
        let child = Child { outlet, process: RefCell::new(Some(spawned.child)) };
        Ok((Rc::new(child), Inlet::new(Source::Child(spawned.output))))
    }

    /// Ends the child: its input first, signals when that does not help.
    pub(super) async fn stop(&self) {
        let process = self.process.take();
        if let Some(process) = process {
            // A child that does not read must not hold up its own end.
            let _ = shards::time::timeout(STOP_PATIENCE, self.outlet.finish()).await;
            process.stop(STOP_PATIENCE).await;
        }
    }
}
