//! Two texts, word by word.

/// Tables larger than this are not worth the memory; such texts are shown as wholly different.
const MAX_CELLS: usize = 250_000;
/// Words shown of each side in one line.
const SHOWN: usize = 6;
/// Unchanged words shown beside a change.
const AROUND: usize = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edit<'a> {
    Same(&'a str),
    Removed(&'a str),
    Added(&'a str),
}

/// The text with what changed marked: `apt-get install [-curl-] {+wget+} -y`. Long stretches without a change are left
/// out.
pub(super) fn diff(old: &str, new: &str) -> String {
    let edits = edits(old, new);
    let is_same = |edit: &&Edit<'_>| matches!(edit, Edit::Same(_));
    let mut marked: Vec<String> = Vec::new();
    let mut at = 0;
    while let Some(edit) = edits.get(at) {
        let run = edits[at..].iter().take_while(is_same).count();
        let before = if at == 0 { 0 } else { AROUND };
        let after = if at + run == edits.len() { 0 } else { AROUND };
        match edit {
            // Leaving one word out would not make it shorter.
            Edit::Same(_) if run > before + after + 1 => {
                marked.extend(edits[at..at + before].iter().map(|edit| word(edit).to_owned()));
                marked.push("…".to_owned());
                marked.extend(edits[at + run - after..at + run].iter().map(|edit| word(edit).to_owned()));
            }
            Edit::Same(_) => marked.extend(edits[at..at + run].iter().map(|edit| word(edit).to_owned())),
            Edit::Removed(word) => marked.push(format!("[-{word}-]")),
            Edit::Added(word) => marked.push(format!("{{+{word}+}}")),
        }
        at += run.max(1);
    }
    marked.join(" ")
}

/// Only what changed: `curl → wget`.
pub(super) fn changed(old: &str, new: &str) -> String {
    let edits = edits(old, new);
    let side = |pick: fn(&Edit<'_>) -> bool| {
        let words: Vec<&str> = edits.iter().filter(|edit| pick(edit)).map(word).collect();
        let more = if words.len() > SHOWN { " …" } else { "" };
        words.iter().take(SHOWN).copied().collect::<Vec<_>>().join(" ") + more
    };
    let (gone, came) =
        (side(|edit| matches!(edit, Edit::Removed(_))), side(|edit| matches!(edit, Edit::Added(_))));
    match (gone.is_empty(), came.is_empty()) {
        (true, true) => "blanks only".to_owned(),
        (true, false) => format!("{came} added"),
        (false, true) => format!("{gone} removed"),
        (false, false) => format!("{gone} → {came}"),
    }
}

fn word<'a>(edit: &Edit<'a>) -> &'a str {
    match edit {
        Edit::Same(word) | Edit::Removed(word) | Edit::Added(word) => word,
    }
}

/// Longest common subsequence of what lies between the common beginning and end.
fn edits<'a>(old: &'a str, new: &'a str) -> Vec<Edit<'a>> {
    let old: Vec<&str> = old.split_whitespace().collect();
    let new: Vec<&str> = new.split_whitespace().collect();
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(|(a, b)| a == b).count();
    let (middle_old, middle_new) = (&old[head..old.len() - tail], &new[head..new.len() - tail]);
    let mut edits: Vec<Edit<'a>> = old[..head].iter().map(|word| Edit::Same(word)).collect();
    edits.extend(middle(middle_old, middle_new));
    edits.extend(old[old.len() - tail..].iter().map(|word| Edit::Same(word)));
    edits
}

fn middle<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Edit<'a>> {
    let width = new.len() + 1;
    let cells = (old.len() + 1) * width;
    if cells > MAX_CELLS {
        let removed = old.iter().map(|word| Edit::Removed(word));
        return removed.chain(new.iter().map(|word| Edit::Added(word))).collect();
    }
    // common[i * width + j]: length of the longest common subsequence of old[i..] and new[j..].
    let mut common = vec![0_u32; cells];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i * width + j] = if old[i] == new[j] {
                common[(i + 1) * width + j + 1] + 1
            } else {
                common[(i + 1) * width + j].max(common[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j, mut edits) = (0, 0, Vec::new());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            edits.push(Edit::Same(old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || i < old.len() && common[(i + 1) * width + j] >= common[i * width + j + 1]
        {
            edits.push(Edit::Removed(old[i]));
            i += 1;
        } else {
            edits.push(Edit::Added(new[j]));
            j += 1;
        }
    }
    edits
}
