//! Which layer of somebody's image is the result of a step: Docker's classic rule for `--cache-from`. The image stands
//! on the same base, its history begins with the same instructions, and its layers up to here are those of this build.
use super::assemble::balance;
use crate::lower::{Dialect, Expected};
use std::fmt;
use strata_oci::{DiffId, History, ImageConfig};

/// A layer in which nothing is: a tar of two empty blocks. Some builders write it, some leave it out.
pub(super) const NOTHING: &str = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";

/// What an image has in the place of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lent {
    /// A layer, by its number from the bottom, and its row.
    Layer(usize, History),
    /// A row without a layer: the step changed nothing.
    Nothing(History),
}

/// Where an image and a build part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Difference {
    /// It does not stand on the image that the stage stands on.
    Base,
    /// It has no more rows.
    Ends { ours: String },
    /// Another instruction.
    Row { ours: String, theirs: String },
    /// The same instructions, and yet other layers below.
    Below { ours: String },
    /// The files that the instruction would copy are not those of its layer.
    Files { ours: String },
    /// The same text, which does not tell all that the step depends on.
    Untold { ours: String },
    /// Its layer cannot be had.
    Lost { ours: String },
    /// The same instruction, at another time than `SOURCE_DATE_EPOCH` asks for.
    Time { ours: String },
    /// Rows and layers that do not belong together.
    Rows,
}

impl Difference {
    /// How far the two were alike: the row that differs, if they got to one.
    pub(super) fn ours(&self) -> Option<&str> {
        match self {
            Self::Base | Self::Rows => None,
            Self::Ends { ours }
            | Self::Row { ours, .. }
            | Self::Below { ours }
            | Self::Files { ours }
            | Self::Untold { ours }
            | Self::Lost { ours }
            | Self::Time { ours } => Some(ours),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base => f.write_str("it was built on another base image"),
            Self::Ends { ours } => write!(f, "it ends before {ours:?}"),
            Self::Row { ours, theirs } => write!(f, "it has {theirs:?} where the Dockerfile has {ours:?}"),
            Self::Below { ours } => write!(f, "the layers below {ours:?} are not the same"),
            Self::Files { ours } => write!(f, "{ours:?} would copy other files than it did"),
            Self::Untold { ours } => {
                write!(f, "its history does not tell all that {ours:?} depends on (mounts, secrets, network)")
            }
            Self::Lost { ours } => write!(f, "its layer of {ours:?} cannot be had"),
            Self::Time { ours } => write!(f, "{ours:?} was built at another time than SOURCE_DATE_EPOCH"),
            Self::Rows => f.write_str("its history does not tell which layer belongs to which instruction"),
        }
    }
}

/// The part of a stage that an image is compared with.
pub(super) struct Sought<'a> {
    /// What the stage stands on, at the very bottom.
    pub(super) root: Option<&'a ImageConfig>,
    /// The rows of the stage, from there on.
    pub(super) rows: &'a [Expected],
    /// Layers that this build has so far, from there on; `None`: not named yet.
    pub(super) layers: &'a [Option<DiffId>],
}

impl Sought<'_> {
    /// What the image has for the step on these layers.
    pub(super) fn find(&self, image: &ImageConfig) -> Result<Lent, Difference> {
        let (rows, layers) = self.above_root(image)?;
        let mut best = None;
        for dialect in [Dialect::BuildKit, Dialect::Classic] {
            match self.find_in(dialect, rows, layers) {
                Ok(Lent::Layer(layer, row)) => {
                    return Ok(Lent::Layer(image.rootfs.diff_ids.len() - layers.len() + layer, row));
                }
                Ok(nothing) => return Ok(nothing),
                // The dialect that got further is the image's own.
                Err((at, difference)) if best.as_ref().is_none_or(|(so_far, _)| *so_far < at) => {
                    best = Some((at, difference));
                }
                Err(_) => {}
            }
        }
        Err(best.map_or(Difference::Rows, |(_, difference)| difference))
    }

    /// The rows and layers of the image that the base does not have.
    fn above_root<'i>(&self, image: &'i ImageConfig) -> Result<(&'i [History], &'i [DiffId]), Difference> {
        let (rows, layers) = (&image.history, &image.rootfs.diff_ids);
        if rows.iter().filter(|row| !row.empty_layer).count() != layers.len() {
            return Err(Difference::Rows);
        }
        let Some(root) = self.root else { return Ok((rows, layers)) };
        let below = &root.rootfs.diff_ids;
        let told = balance(root.history.clone(), below.len(), root.created);
        let platforms = (&image.platform, &root.platform);
        let same_platform =
            platforms.0.architecture == platforms.1.architecture && platforms.0.os == platforms.1.os;
        if !same_platform || !rows.starts_with(&told) || !layers.starts_with(below) {
            return Err(Difference::Base);
        }
        Ok((&rows[told.len()..], &layers[below.len()..]))
    }

    /// Fails with the number of the row that is not as it should be.
    fn find_in(
        &self,
        dialect: Dialect,
        rows: &[History],
        layers: &[DiffId],
    ) -> Result<Lent, (usize, Difference)> {
        let steps = self.rows.iter().filter(|row| row.layered).count();
        let done = self.layers.len();
        let mut seen = 0;
        let mut used = 0;
        let mut written = rows.iter().enumerate();
        for expected in self.rows {
            seen += usize::from(expected.layered);
            let is_sought = expected.layered && seen > done;
            if !expected.is_written(dialect) {
                if is_sought {
                    break;
                }
                continue;
            }
            let ours = expected.shown().to_owned();
            let Some((at, row)) = written.next() else {
                return Err((rows.len(), Difference::Ends { ours }));
            };
            if !expected.fits(dialect, &row.created_by) {
                let theirs = shown(row).to_owned();
                return Err((at, Difference::Row { ours, theirs }));
            }
            if is_sought {
                let below = layers.get(..used).ok_or((at, Difference::Rows))?;
                if !self.stands_on(below) {
                    return Err((at, Difference::Below { ours }));
                }
                return Ok(if row.empty_layer {
                    Lent::Nothing(row.clone())
                } else {
                    Lent::Layer(used, row.clone())
                });
            }
            used += usize::from(!row.empty_layer);
        }
        debug_assert!(steps >= done, "more layers than steps");
        Err((0, Difference::Rows))
    }

    /// Whether this build's layers are these, but for empty ones.
    fn stands_on(&self, layers: &[DiffId]) -> bool {
        let Some(ours) = self.layers.iter().copied().collect::<Option<Vec<_>>>() else { return false };
        let is_something = |layer: &&DiffId| layer.to_string() != NOTHING;
        ours.iter().filter(is_something).eq(layers.iter().filter(is_something))
    }
}

/// A row as it was written in its Dockerfile, as far as that can be seen.
fn shown(row: &History) -> &str {
    let text = row.created_by.trim_end_matches(" # buildkit");
    text.split_once("#(nop) ").map_or(text, |(_, rest)| rest).trim()
}
