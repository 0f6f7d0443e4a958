//! The image config, when every layer has its DiffId (`spec/build.md` 4.3, 5).
use super::{Solved, Solver};
use crate::lower::EXPORTER;
use crate::{BuildError, BuildErrorKind, Built, CacheIndex, CachedLayer, Layer, Worker};
use jiff::Timestamp;
use strata_oci::{History, ImageConfig, Raw, RootFs};

impl<W: Worker, C: CacheIndex> Solver<'_, W, C> {
    pub(super) fn assemble(&self, solved: &Solved<W::Layer>) -> Result<Built<W::Layer>, BuildError> {
        let failed = |error| BuildError { kind: BuildErrorKind::Worker(error), spans: Vec::new() };
        let handles = self.stack(self.plan.target, &solved.layers);
        let layers: Vec<_> =
            handles.iter().map(|layer| layer.committed().map_err(failed)).collect::<Result<_, _>>()?;
        let draft = &self.plan.stages[&self.plan.target].image;
        let base = draft.root.as_ref().map(|key| self.images[key].config.value());
        let base_layers = base.map_or(0, |base| base.rootfs.diff_ids.len());
        let mut config = base.map_or_else(ImageConfig::default, |base| ImageConfig {
            platform: base.platform.clone(),
            created: base.created,
            history: balance(base.history.clone(), base.rootfs.diff_ids.len(), base.created),
            ..ImageConfig::default()
        });
        if config.platform.architecture.is_empty() {
            config.platform = self.options.platform.clone();
        }
        config.author.clone_from(&draft.author);
        config.config = draft.config.clone();
        let labels = self.options.labels.iter().map(|(name, value)| (name.clone(), value.clone()));
        config.config.labels.extend(labels);
        let made: Vec<Timestamp> = solved.layers.iter().map(|made| made.created).collect();
        let epoch = self.plan.epoch;
        let rows = date(&config.history, draft.rows.clone(), &made, epoch, &|| (self.with.clock)());
        config.history.extend(rows);
        config.created = epoch.or(config.history.last().and_then(|row| row.created)).or(config.created);
        config.created = config.created.or_else(|| Some((self.with.clock)()));
        config.rootfs =
            RootFs { diff_ids: layers.iter().map(|layer| layer.diff_id).collect(), ..RootFs::default() };
        let above = layers[layers.len() - solved.layers.len()..].iter().zip(&solved.layers);
        let made = above.map(|(layer, made)| CachedLayer {
            diff_id: layer.diff_id,
            size: layer.size,
            created: made.created,
        });
        let made = made.collect();
        Ok(Built { config: Raw::new(config), layers, handles, made, base_layers, epoch, steps: self.steps() })
    }
}

/// One row with a layer for each layer of the base: `import` and some builders leave rows out, and then every row above
/// would be shown with another row's layer.
pub(super) fn balance(mut rows: Vec<History>, layers: usize, created: Option<Timestamp>) -> Vec<History> {
    let with_layer = rows.iter().filter(|row| !row.empty_layer).count();
    for row in rows.iter_mut().filter(|row| !row.empty_layer).take(with_layer.saturating_sub(layers)) {
        row.empty_layer = true;
    }
    let comment = EXPORTER.to_owned();
    let missing = History { created, comment, ..History::default() };
    rows.extend(std::iter::repeat_n(missing, layers.saturating_sub(with_layer)));
    rows
}

/// Dates new rows. A row with a layer has the layer's time. The others have that of the layer before them, and those
/// before the first new layer that one's; without any new layer, the base's last. So nothing depends on when a fully
/// cached build happens to run.
pub(super) fn date(
    base: &[History],
    mut rows: Vec<History>,
    made: &[Timestamp],
    epoch: Option<Timestamp>,
    clock: &dyn Fn() -> Timestamp,
) -> Vec<History> {
    let of_base = || base.iter().rev().find_map(|row| row.created);
    let mut last = epoch.or_else(|| made.first().copied()).or_else(of_base);
    let mut layers = made.iter().copied();
    for row in &mut rows {
        if !row.empty_layer {
            last = epoch.or_else(|| layers.next()).or(last);
        }
        row.created = Some(*last.get_or_insert_with(clock));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    fn row(empty_layer: bool, created: Option<i64>) -> History {
        History { empty_layer, created: created.map(at), ..History::default() }
    }

    fn seconds(rows: &[History]) -> Vec<i64> {
        rows.iter().map(|row| row.created.expect("dated").as_second()).collect()
    }

    #[test]
    fn metadata_takes_the_time_of_the_layer_before_it_or_of_the_first() {
        let rows =
            vec![row(true, None), row(false, None), row(true, None), row(false, None), row(true, None)];
        let base = [row(false, Some(5))];
        let clock = || panic!("the clock is not asked");
        assert_eq!(
            seconds(&date(&base, rows.clone(), &[at(20), at(30)], None, &clock)),
            [20, 20, 20, 30, 30]
        );
        assert_eq!(seconds(&date(&base, rows, &[at(20), at(30)], Some(at(7)), &clock)), [7; 5]);
    }

    #[test]
    fn every_layer_of_the_base_has_one_row() {
        let rows = || vec![row(false, Some(1)), row(true, Some(2)), row(false, Some(3))];
        let empty = |rows: Vec<History>| rows.iter().map(|row| row.empty_layer).collect::<Vec<_>>();
        assert_eq!(empty(balance(rows(), 2, None)), [false, true, false]);
        assert_eq!(empty(balance(rows(), 1, None)), [true, true, false]);
        let more = balance(rows(), 3, Some(at(9)));
        assert_eq!((more[3].comment.as_str(), more[3].created), (EXPORTER, Some(at(9))));
        assert_eq!(empty(more), [false, true, false, false]);
    }

    #[test]
    fn without_new_layers_the_base_decides_and_only_then_the_clock() {
        let rows = vec![row(true, None), row(true, None)];
        let base = [row(false, Some(5)), row(true, None)];
        assert_eq!(seconds(&date(&base, rows.clone(), &[], None, &|| panic!("not asked"))), [5, 5]);
        assert_eq!(seconds(&date(&[], rows, &[], None, &|| at(9))), [9, 9]);
    }
}
