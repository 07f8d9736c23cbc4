# What a person or CI does with Ringway, each by one word. `make help` lists them.

SHELL := bash
.DEFAULT_GOAL := help

# Outside the checkout, so that a second clone on the same machine builds only what changed.
export CARGO_TARGET_DIR ?= $${XDG_CACHE_HOME:-$$HOME/.cache}/ringway/target
CARGO_TARGET_DIR := $(shell echo "$(CARGO_TARGET_DIR)")

# Seconds that `make fuzz` spends on each target.
FUZZ_SECONDS ?= 600

.PHONY: help
help: ## Lists these targets
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

.PHONY: toolchain
toolchain:
	@command -v cargo >/dev/null || { echo 'Ringway is built with cargo, which is missing: install Rust 1.95 or newer with rustup.'; exit 1; } >&2
	@command -v cc >/dev/null || { echo 'SQLite and the cryptography need a C compiler, which is missing. On Debian: apt-get install gcc libc6-dev'; exit 1; } >&2

.PHONY: run
run: toolchain ## Builds in release mode and serves on 127.0.0.1:4444 (HOST, PORT)
	@cargo build --release --locked --bin ringway
	@echo 'The binary: $(CARGO_TARGET_DIR)/release/ringway (to have it on your path: export PATH="$(CARGO_TARGET_DIR)/release:$$PATH")'
	@exec "$(CARGO_TARGET_DIR)/release/ringway" serve

.PHONY: test
test: toolchain test-tools ## Runs every test; installs what they need on first use
	@tests/run

.PHONY: test-tools
test-tools: ## Installs what the tests run besides Rust: valgrind, Redis, PostgreSQL, PgBouncer, Chromium, Node, npm and Python packages
	@tests/tools/install >/dev/null

.PHONY: lint
lint: toolchain ## Checks format, clippy, the docs' warnings and, where cargo-deny is present, deny.toml
	@cargo fmt --all --check
	@cargo clippy --workspace --all-targets --locked -- -D warnings
	@RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --document-private-items --locked --quiet
	@if cargo deny --version >/dev/null 2>&1; then cargo deny check bans licenses sources; fi

.PHONY: bench
bench: toolchain ## Measures Ringway beside nginx, and its stores, on this machine (BENCH_ARGS=--help tells more)
	@cargo build --release --locked --bin ringway
	@cargo run --release --locked -p benches --bin bench -- $(BENCH_ARGS)

.PHONY: bench-runtimes
bench-runtimes: toolchain ## Compares the bare loop on each runtime and ring flag set
	@cargo run --release --locked -p benches --features runtimes --bin runtimes -- $(BENCH_ARGS)

.PHONY: fuzz
fuzz: toolchain ## Fuzzes every codec for FUZZ_SECONDS each (default 600)
	@tests/fuzz "$(FUZZ_SECONDS)"

.PHONY: docs
docs: toolchain ## Writes docs/SETTINGS.md and the table of docs/COMPATIBILITY.md
	@mkdir -p docs
	@cargo run --quiet --locked --bin ringway -- settings --markdown > docs/SETTINGS.md.new
	@mv docs/SETTINGS.md.new docs/SETTINGS.md
	@COMPAT_WRITE=1 cargo test --quiet --locked --test gateway the_page_on_compatibility >/dev/null
