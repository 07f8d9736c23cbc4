//! Whole-gateway tests: the real binary, driven from outside as its users drive it.

#![forbid(unsafe_code)]

mod harness;

mod apparatus;
mod apply;
mod auth;
mod cli;
mod clients;
mod compat;
mod conformance;
mod docs;
mod equal;
mod faults;
mod health;
mod http;
mod lifecycle;
mod metrics;
mod nodes;
mod openapi;
mod outages;
mod protocol;
mod registry;
mod relay;
mod secrets;
mod servers;
mod smuggling;
mod stand_ins;
mod stdio;
