//! Server-sent events, bytes to value and back (WHATWG HTML §9.2).
