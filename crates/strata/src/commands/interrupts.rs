//! The signals that ask a command to end.

use crate::failure::Failure;
use signal_hook::flag;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use strata_engine::EngineError;

/// What the first signal sets, so that a command gives up in good order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupts {
    /// Some signal has come.
    pub(crate) cancel: Arc<AtomicBool>,
    number: Arc<AtomicUsize>,
}

impl Interrupts {
    /// From now on the first signal cancels and the second one ends the program at once, with `second_code` or else with
    /// 128 and its number. None is lost, whenever it comes.
    pub(crate) fn catch(&self, second_code: Option<i32>) -> Result<(), EngineError> {
        strata_engine::handle_end_signals(|signals| {
            for &signal in signals {
                let code = second_code.unwrap_or(128 + signal);
                // Registered first, so that it sees the flag as the first signal left it.
                flag::register_conditional_shutdown(signal, code, Arc::clone(&self.cancel))?;
                flag::register(signal, Arc::clone(&self.cancel))?;
                flag::register_usize(signal, Arc::clone(&self.number), signal.unsigned_abs() as usize)?;
            }
            Ok(())
        })?
    }

    /// A failure with the exit code of the signal that caused it, if one has come.
    pub(crate) fn blame(&self, failure: Failure) -> Failure {
        match self.number.load(Ordering::Relaxed) {
            0 => failure,
            signal => failure.with_signal(signal),
        }
    }
}
