//! The variables that Amazon's tools go by.

/// How variables are looked up; nothing here reads the process' own.
#[derive(Clone, Copy)]
pub struct Environment<'a>(pub &'a dyn Fn(&str) -> Option<String>);

impl Environment<'_> {
    /// An empty variable counts as none.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.trim().is_empty())
    }

    /// Where a service of Amazon's, by its name in variables, is said to be.
    pub(super) fn endpoint(&self, service: &str) -> Option<String> {
        if self.ignores_endpoints() {
            return None;
        }
        self.get(&format!("AWS_ENDPOINT_URL_{service}")).or_else(|| self.get("AWS_ENDPOINT_URL"))
    }

    /// Whether only what an option says of addresses counts.
    pub(super) fn ignores_endpoints(&self) -> bool {
        let ignored = self.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS");
        ignored.is_some_and(|ignored| ignored.eq_ignore_ascii_case("true"))
    }
}
