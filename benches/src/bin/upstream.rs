//! The fake upstream as a program: prints its address and answers until it is ended.

#![forbid(unsafe_code)]

use std::io;

use benches::upstream::{self, Options};
use clap::Parser;

/// A fast MCP server over streamable HTTP, to be called through a gateway.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    options: Options,
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    upstream::run(&arguments.options, |address| println!("listening on {address}"))
}
