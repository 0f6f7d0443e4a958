//! Two rules in somebody else's chain.
//!
//! A `FORWARD` chain with the policy "drop" (another container engine, a firewall) ends every packet that it
//! does not accept, whatever our own chains say; with `br_netfilter` even packets between two containers of
//! one bridge pass it. So the bridge's traffic is accepted there, by two rules that carry our tag
//! (`spec/executor.md` F, "FORWARD DROP by others"). A restart of the other engine may flush them: they are
//! looked for at every container start.

use super::NetError;
use super::netlink::Socket;
use super::nft::{self, Expression, Transaction, Verdict};

const TABLE: &str = "filter";
const CHAIN: &str = "FORWARD";
/// A chain that `FORWARD` visits first and that Docker leaves to others.
const USER_CHAIN: &str = "DOCKER-USER";

/// Accepts the bridge's traffic in the foreign chain if there is one that drops; returns whether rules were
/// added.
pub(super) fn accept(socket: &Socket, bridge: &str) -> Result<bool, NetError> {
    let chains = nft::chains(socket)?;
    let in_table = |name: &str| chains.iter().find(|chain| chain.table == TABLE && chain.name == name);
    if !in_table(CHAIN).is_some_and(|chain| chain.drops) {
        return Ok(false);
    }
    let chain = if in_table(USER_CHAIN).is_some() { USER_CHAIN } else { CHAIN };
    if !nft::tagged_rules(socket, TABLE, chain, &tag(bridge))?.is_empty() {
        return Ok(false);
    }
    let verdict = || Expression::Verdict(Verdict::Accept);
    let mut transaction = Transaction::new();
    for interface in [
        Expression::InputInterface { name: bridge, is: true },
        Expression::OutputInterface { name: bridge, is: true },
    ] {
        transaction.insert_rule(TABLE, chain, &tag(bridge), &[interface, Expression::Counter, verdict()]);
    }
    transaction.commit(socket)?;
    Ok(true)
}

/// Removes our rules from the foreign chains.
pub(super) fn withdraw(socket: &Socket, bridge: &str) -> Result<(), NetError> {
    for chain in [USER_CHAIN, CHAIN] {
        let handles = nft::tagged_rules(socket, TABLE, chain, &tag(bridge))?;
        if handles.is_empty() {
            continue;
        }
        let mut transaction = Transaction::new();
        for handle in handles {
            transaction.delete_rule(TABLE, chain, handle);
        }
        transaction.commit(socket)?;
    }
    Ok(())
}

/// The comment that nft shows with the rule: type 0, length, text with its zero.
fn tag(bridge: &str) -> Vec<u8> {
    let text = format!("strata:{bridge}\0");
    let length = u8::try_from(text.len()).expect("a bridge name has at most 15 characters");
    let mut tag = vec![0, length];
    tag.extend_from_slice(text.as_bytes());
    tag
}
