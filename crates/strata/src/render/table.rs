//! Columns as Go's tabwriter lays them out for Docker: at least 10 wide, 3 apart, the last one ragged.

const MIN_WIDTH: usize = 10;
const PADDING: usize = 3;

/// Lays `rows` out (the header is a row like the others). Rows may have different lengths; a column is as
/// wide as its widest cell in the run of neighbouring rows that have a cell after it, as tabwriter does.
pub(crate) fn lay_out(rows: &[Vec<String>]) -> String {
    let mut out = String::new();
    let widths = column_widths(rows);
    for (row, widths) in rows.iter().zip(&widths) {
        for (index, cell) in row.iter().enumerate() {
            out.push_str(cell);
            if index + 1 < row.len() {
                let width = widths.get(index).copied().unwrap_or(0);
                out.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count())));
            }
        }
        out.push('\n');
    }
    out
}

/// For each row the widths of its tab-terminated cells.
fn column_widths(rows: &[Vec<String>]) -> Vec<Vec<usize>> {
    let mut widths: Vec<Vec<usize>> = rows.iter().map(|row| vec![0; row.len().saturating_sub(1)]).collect();
    let columns = widths.iter().map(Vec::len).max().unwrap_or(0);
    for column in 0..columns {
        let mut start = 0;
        while start < rows.len() {
            if widths[start].len() <= column {
                start += 1;
                continue;
            }
            let end = (start..rows.len()).find(|&i| widths[i].len() <= column).unwrap_or(rows.len());
            let cells = rows[start..end].iter().map(|row| row[column].chars().count());
            let widest = cells.max().unwrap_or(0);
            // A column of empty cells has no width of its own in tabwriter when it discards empty columns;
            // Docker does not ask for that, so padding applies always.
            let width = (widest + PADDING).max(MIN_WIDTH);
            widths[start..end].iter_mut().for_each(|row| row[column] = width);
            start = end;
        }
    }
    widths
}

/// Splits template output into rows at newlines and cells at tabs, then lays it out.
pub(crate) fn lay_out_text(text: &str) -> String {
    let rows: Vec<Vec<String>> =
        text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect();
    lay_out(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_ten_wide_and_three_apart() {
        let text =
            lay_out_text("TYPE\tTOTAL\tRECLAIMABLE\nImages\t12\t946.2MB (100%)\nLocal Volumes\t0\t0B\n");
        assert_eq!(
            text,
            "TYPE            TOTAL     RECLAIMABLE\nImages          12        946.2MB (100%)\nLocal Volumes   0         0B\n"
        );
    }
}
