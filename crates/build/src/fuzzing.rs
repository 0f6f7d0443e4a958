//! What the fuzz targets see of the inside; not there in an ordinary build.
use crate::key::{self, Parent};
use crate::lower::Op;
use crate::{CacheKey, ExecOp, FileOp, Input, Selection};
use strata_oci::{Digest, Platform};

/// A step as its key sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// `RUN`, `COPY`, `ADD`, `WORKDIR`, `FROM`.
    pub instruction: String,
    /// What it does.
    pub op: Operation,
    /// What is built.
    pub platform: Platform,
    /// [`BuildOptions::run_inputs`](crate::BuildOptions::run_inputs).
    pub run_inputs: Vec<Input>,
    /// What it stands on.
    pub parent: Below,
}

/// RUN, or one of those that make files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// COPY, ADD, WORKDIR.
    File(FileOp),
    /// RUN.
    Exec(ExecOp),
}

/// What a step stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Below {
    /// An image.
    Base(String),
    /// A step.
    Step(CacheKey),
}

impl Below {
    fn parent(&self) -> Parent {
        match self {
            Self::Base(image) => Parent::Base(image.clone()),
            Self::Step(key) => Parent::Step(*key),
        }
    }
}

impl Step {
    fn operation(&self) -> Op {
        match &self.op {
            Operation::File(op) => Op::File(op.clone()),
            Operation::Exec(op) => Op::Exec(op.clone()),
        }
    }

    /// How many content digests its key needs.
    pub fn selections(&self) -> usize {
        key::selections(&self.operation()).len()
    }

    /// The key of its layer, the key of the stack up to it, and the named inputs that a record keeps.
    pub fn key(&self, digests: &[Digest]) -> (CacheKey, CacheKey, Vec<Input>) {
        let every_run = (&self.platform, &self.run_inputs[..]);
        let key =
            key::encode(&self.instruction, &self.operation(), every_run, &self.parent.parent(), digests);
        (key.own, key.chain, key.inputs)
    }
}

/// The hash of named inputs.
pub fn hash(inputs: &[Input]) -> CacheKey {
    key::hash(inputs)
}

/// Key under which the digest of selected files of a stage is remembered.
pub fn selection_key(of: &Below, selection: &Selection) -> CacheKey {
    key::selection(&of.parent(), selection)
}
