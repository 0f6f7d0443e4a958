//! One HTTP client for everything strata fetches.
