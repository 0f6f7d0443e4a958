//! Scopes: what a token allows (the distribution token specification, "Requesting a Token").
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What may be done in one repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// Reading manifests, blobs and tags.
    Pull,
    /// Reading and writing: a push asks first what is there.
    Push,
    /// Deleting manifests and blobs. Token servers expect it to be asked for alone.
    Delete,
}

impl Access {
    fn actions(self) -> &'static [&'static str] {
        match self {
            Self::Pull => &["pull"],
            Self::Push => &["pull", "push"],
            Self::Delete => &["delete"],
        }
    }
}

/// A set of resources with the actions allowed on them: `repository:library/busybox:pull,push`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Scopes(BTreeMap<String, BTreeSet<String>>);

impl Scopes {
    /// Nothing: enough for `GET /v2/`.
    pub(crate) fn none() -> Self {
        Self::default()
    }

    /// One repository.
    pub(crate) fn repository(path: &str, access: Access) -> Self {
        let actions = access.actions().iter().map(|action| (*action).to_owned()).collect();
        Self(BTreeMap::from([(format!("repository:{path}"), actions)]))
    }

    /// Both together.
    #[must_use]
    pub(crate) fn and(mut self, other: Self) -> Self {
        for (resource, actions) in other.0 {
            self.0.entry(resource).or_default().extend(actions);
        }
        self
    }

    /// What a challenge asked for. Text that is no scope is skipped.
    pub(crate) fn parse(text: &str) -> Self {
        let mut scopes = Self::default();
        for scope in text.split_ascii_whitespace() {
            // The actions are what follows the last colon: a resource name may hold a port.
            let Some((resource, actions)) = scope.rsplit_once(':') else { continue };
            let actions = actions.split(',').filter(|action| !action.is_empty()).map(str::to_owned);
            scopes.0.entry(resource.to_owned()).or_default().extend(actions);
        }
        scopes.0.retain(|_, actions| !actions.is_empty());
        scopes
    }

    /// Whether a token for `self` does for `wanted` too.
    pub(crate) fn cover(&self, wanted: &Self) -> bool {
        wanted.0.iter().all(|(resource, actions)| {
            actions.is_empty()
                || self.0.get(resource).is_some_and(|held| actions.is_subset(held) || held.contains("*"))
        })
    }

    /// One text for each resource, for the query of a token request.
    pub(crate) fn texts(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(resource, actions)| {
            let actions: Vec<&str> = actions.iter().map(String::as_str).collect();
            format!("{resource}:{}", actions.join(","))
        })
    }
}

/// As one text, separated by spaces.
impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.texts().collect::<Vec<_>>().join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_written_as_docker_writes_them() {
        let push = Scopes::repository("library/busybox", Access::Push);
        assert_eq!(push.to_string(), "repository:library/busybox:pull,push");
        let mount = push.and(Scopes::repository("base/python", Access::Pull));
        assert_eq!(mount.to_string(), "repository:base/python:pull repository:library/busybox:pull,push");
        assert_eq!(Scopes::none().to_string(), "");
    }

    #[test]
    fn what_a_token_covers() {
        let push = Scopes::repository("a/b", Access::Push);
        let pull = Scopes::repository("a/b", Access::Pull);
        assert!(push.cover(&pull) && push.cover(&push) && pull.cover(&Scopes::none()));
        assert!(!pull.cover(&push) && !push.cover(&Scopes::repository("a/c", Access::Pull)));
        assert!(!push.cover(&Scopes::repository("a/b", Access::Delete)));
        assert!(Scopes::parse("repository:a/b:*").cover(&push));
    }

    #[test]
    fn what_challenges_say_is_read() {
        let read = Scopes::parse("repository:host:5000/a:push,pull  registry:catalog:* rubbish :: x:");
        assert_eq!(read.to_string(), "registry:catalog:* repository:host:5000/a:pull,push");
    }
}
