//! HTTP/1.1 on the wire: heads, bodies and what is written (RFC 9112).

pub mod body;
pub mod encode;
pub mod fields;
mod framing;
pub mod head;
mod lines;
pub mod response;
pub mod server;
mod target;

pub use fields::Fields;
pub use framing::Framing;
pub use head::{HeadLimits, Method, RequestHead, Version};
pub use response::ResponseHead;
