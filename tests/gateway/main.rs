//! Whole-gateway tests: the real binary, driven from outside as its users drive it.

#![forbid(unsafe_code)]

mod harness;

mod agents;
mod apparatus;
mod apply;
mod audit;
mod auth;
mod batches;
mod bridges;
mod churn;
mod cli;
mod clients;
mod compat;
mod conformance;
mod docs;
mod equal;
mod eras;
mod faults;
mod features;
mod health;
mod http;
mod isolation;
mod issuer;
mod lifecycle;
mod login;
mod matrix;
mod metrics;
mod nodes;
mod openapi;
mod outages;
mod own;
mod payloads;
mod policy;
mod protocol;
mod real;
mod registry;
mod relay;
mod rest_tools;
mod scenarios;
mod secrets;
mod servers;
mod sessions;
mod smuggling;
mod sockets;
mod stand_ins;
mod stdio;
mod tasks;
mod teams;
mod throttle;
mod tools;
mod transports;
mod watch;
mod web;
