//! `--memory` and its like: what every RUN may use of the machine.

use super::request::bad;
use crate::commands::run::bytes;
use crate::failure::Failure;
use clap::Args;
use strata_engine::build::StepLimits;

/// The kernel's usual period of `--cpu-quota`, in microseconds.
const PERIOD: u64 = 100_000;

#[derive(Args, Debug)]
pub(super) struct ResourceFlags {
    /// Memory limit of each RUN step
    #[arg(short, long, value_name = "BYTES")]
    memory: Option<String>,
    /// Memory and swap of each RUN step together; -1 for no limit of swap
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    memory_swap: Option<String>,
    /// CPU shares of each RUN step: a weight, 1024 is normal
    #[arg(short, long, value_name = "WEIGHT")]
    cpu_shares: Option<String>,
    /// Period of --cpu-quota, in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_period: Option<String>,
    /// CPU time of each RUN step in a period, in microseconds
    #[arg(long, value_name = "MICROSECONDS", allow_hyphen_values = true)]
    cpu_quota: Option<String>,
    /// The same as KEY=VALUE: memory, memory-swap, cpu-shares, cpu-period, cpu-quota
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',')]
    resource: Vec<String>,
    /// Accepted for Docker's sake: a context is not sent anywhere
    #[arg(long, hide = true)]
    compress: bool,
}

#[derive(Default)]
struct Given {
    limits: StepLimits,
    period: Option<u64>,
    quota: Option<i64>,
}

impl Given {
    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let number = || value.parse::<u64>().map_err(|_| format!("{value:?} is not a number"));
        match key {
            "memory" => self.limits.memory = Some(bytes(value)?),
            "memory-swap" if value == "-1" => self.limits.memory_swap = Some(-1),
            "memory-swap" => {
                let swap = i64::try_from(bytes(value)?).map_err(|_| format!("invalid size: '{value}'"))?;
                self.limits.memory_swap = Some(swap);
            }
            "cpu-shares" => self.limits.cpu_shares = Some(number()?),
            "cpu-period" => self.period = Some(number()?),
            "cpu-quota" => {
                self.quota = Some(value.parse().map_err(|_| format!("{value:?} is not a number"))?);
            }
            _ => {
                let known = "memory, memory-swap, cpu-shares, cpu-period or cpu-quota";
                return Err(format!("unknown resource {key:?}: use {known}"));
            }
        }
        Ok(())
    }
}

impl ResourceFlags {
    pub(super) fn limits(&self) -> Result<StepLimits, Failure> {
        let mut given = Given::default();
        let own = [
            ("memory", &self.memory),
            ("memory-swap", &self.memory_swap),
            ("cpu-shares", &self.cpu_shares),
            ("cpu-period", &self.cpu_period),
            ("cpu-quota", &self.cpu_quota),
        ];
        for (key, value) in own.into_iter().filter_map(|(key, value)| Some((key, value.as_ref()?))) {
            given.set(key, value).map_err(|why| Failure::argument(key, value, why))?;
        }
        for text in &self.resource {
            let set = text.split_once('=').ok_or_else(|| "expected KEY=VALUE".to_owned());
            set.and_then(|(key, value)| given.set(key, value))
                .map_err(|why| Failure::argument("resource", text, why))?;
        }
        let period = given.period.filter(|period| *period != 0).unwrap_or(PERIOD);
        given.limits.cpus = given.quota.filter(|quota| *quota > 0).map(|quota| quota as f64 / period as f64);
        given.limits.check().map_err(|error| bad(error.to_string()))?;
        Ok(given.limits)
    }
}
