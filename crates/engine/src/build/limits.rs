//! What a RUN may use of the machine.
use crate::EngineError;
use strata_runtime::spec::Limits;

/// Limits of every RUN by itself. They decide whether and how fast a step ends, not what it makes: no part of its key
/// (`spec/build.md` 4.1).
#[derive(Clone, Debug, Default)]
pub struct StepLimits {
    /// `--memory`, bytes; 0 is no limit.
    pub memory: Option<u64>,
    /// `--memory-swap`: memory and swap together, bytes; -1 is no limit. Unset: twice the memory.
    pub memory_swap: Option<i64>,
    /// `--cpu-quota` of `--cpu-period`: a number of processors.
    pub cpus: Option<f64>,
    /// `--cpu-shares`: 1024 is normal.
    pub cpu_shares: Option<u64>,
}

impl StepLimits {
    /// To be called before anything is built.
    ///
    /// # Errors
    /// Fails when the limits contradict each other, or are too small for any process.
    pub fn check(&self) -> Result<(), EngineError> {
        crate::run::check_memory(self.memory)?;
        let memory = self.memory.filter(|bytes| *bytes != 0).and_then(|bytes| i64::try_from(bytes).ok());
        match (memory, self.memory_swap) {
            (None, Some(swap)) if swap > 0 => Err(EngineError::Invalid(
                "You should always set the Memory limit when using Memoryswap limit".to_owned(),
            )),
            (Some(memory), Some(swap)) if swap >= 0 && swap < memory => Err(EngineError::Invalid(
                "Minimum memoryswap limit should be larger than memory limit".to_owned(),
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn of_container(&self) -> Limits {
        Limits {
            memory: self.memory.filter(|bytes| *bytes != 0),
            memory_swap: self.memory_swap.filter(|bytes| *bytes != 0),
            cpus: self.cpus.filter(|cpus| *cpus > 0.0),
            cpu_shares: self.cpu_shares.filter(|shares| *shares != 0),
            ..Limits::default()
        }
    }
}
