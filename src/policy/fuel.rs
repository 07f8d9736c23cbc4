//! What one evaluation may cost, and how it ends badly.

use std::borrow::Cow;
use std::fmt;

/// Bytes of a text that are looked at for the price of one step.
const TEXT_PER_STEP: usize = 128;

/// The steps that are left to an evaluation.
#[derive(Debug)]
pub struct Fuel {
    left: usize,
    given: usize,
}

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It costs more than it may.
    Exhausted,
    /// Something in it has no value: what, in words.
    Wrong(Cow<'static, str>),
}

impl Fault {
    /// Something that has no value.
    pub fn wrong(text: impl Into<Cow<'static, str>>) -> Fault {
        Fault::Wrong(text.into())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Exhausted => out.write_str("it costs more steps than it may"),
            Fault::Wrong(text) => out.write_str(text),
        }
    }
}

impl Fuel {
    /// Gives `count` steps.
    pub fn new(count: usize) -> Fuel {
        Fuel { left: count, given: count }
    }

    /// Takes steps.
    ///
    /// # Errors
    ///
    /// [`Fault::Exhausted`] if there are not so many; none are left then.
    pub fn burn(&mut self, count: usize) -> Result<(), Fault> {
        match self.left.checked_sub(count) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                self.left = 0;
                Err(Fault::Exhausted)
            }
        }
    }

    /// Takes the steps of looking at so many bytes of text.
    ///
    /// # Errors
    ///
    /// [`Fault::Exhausted`].
    pub fn burn_text(&mut self, byte_count: usize) -> Result<(), Fault> {
        self.burn(1 + byte_count / TEXT_PER_STEP)
    }

    /// How many steps were taken.
    pub fn burnt(&self) -> usize {
        self.given - self.left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_no_more_than_there_is_and_tells_what_was_taken() {
        let mut fuel = Fuel::new(5);
        assert_eq!(fuel.burn(2), Ok(()));
        assert_eq!(fuel.burn_text(TEXT_PER_STEP * 4), Err(Fault::Exhausted));
        assert_eq!((fuel.burnt(), fuel.burn(1)), (5, Err(Fault::Exhausted)));
    }
}
