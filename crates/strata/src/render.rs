//! How results look: tables, units, times, JSON and templates, in Docker's formats (`spec/engine.md`, section 3).

pub(crate) mod json;
pub(crate) mod list;
pub(crate) mod table;
pub(crate) mod template;
pub(crate) mod units;
