//! The header fields of a head: places in the buffer, no copies.

use crate::Span;
use crate::error::HeadError;
use crate::http1::head::HeadLimits;

/// The most header fields that any limit can allow: they are first found on the stack.
pub const FIELD_COUNT_CAP: usize = 128;

/// Where the fields of a head lie in its buffer.
///
/// The table keeps its memory from head to head. Every accessor takes the buffer that was parsed,
/// beginning at the same byte; it may have moved or grown meanwhile.
#[derive(Debug, Default)]
pub struct Fields {
    places: Vec<Place>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    name: Span,
    value: Span,
}

impl Fields {
    /// Returns the value of the first field called `name`, in whatever case; outer white space is
    /// already gone.
    #[inline]
    pub fn get<'a>(&self, bytes: &'a [u8], name: &str) -> Option<&'a [u8]> {
        self.all(bytes, name).next()
    }

    /// Returns every value of the fields called `name`, in order.
    #[inline]
    pub fn all<'a>(&self, bytes: &'a [u8], name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.places
            .iter()
            .filter(move |place| place.name.len() == name.len())
            .filter(move |place| place.name.of_bytes(bytes).eq_ignore_ascii_case(name.as_bytes()))
            .map(move |place| place.value.of_bytes(bytes))
    }

    /// Returns how many fields are called `name`: a field that decides something must not be there
    /// twice, since the next reader might take the other one.
    pub fn count(&self, bytes: &[u8], name: &str) -> usize {
        self.all(bytes, name).count()
    }

    /// Returns all fields in order, as name and value.
    pub fn iter<'a>(&self, bytes: &'a [u8]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.places
            .iter()
            .map(move |place| (place.name.of_bytes(bytes), place.value.of_bytes(bytes)))
    }

    /// Returns how many fields there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Forgets all fields and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.places.clear();
    }

    /// Takes over one field, checked against the limit and for a line end without CR before it,
    /// which httparse lets pass.
    #[inline]
    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        field: &httparse::Header<'_>,
        limits: &HeadLimits,
    ) -> Result<(), HeadError> {
        let place = Place {
            name: Span::of(field.name.as_bytes(), bytes),
            value: Span::of(field.value, bytes),
        };
        if place.name.len() + place.value.len() > limits.field_size_max {
            return Err(HeadError::FieldTooLong);
        }
        if bytes[place.name.start as usize - 2] != b'\r' {
            return Err(HeadError::LineEnd);
        }
        self.places.push(place);
        Ok(())
    }
}
