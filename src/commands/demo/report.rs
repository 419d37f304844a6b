//! The demo's story, for people.

use anyhow::Result;
use serde_json::Value;

use super::job::{Pick, Told};
use crate::output::Output;

/// Width of the page.
const WIDTH: usize = 98;
/// Width of one of the two columns.
const COLUMN: usize = 46;
/// Width of a fact's name.
const LABEL: usize = 11;

/// What the reader is told first.
pub fn opening(
    output: Output,
    query: &str,
    entries: usize,
    dim: usize,
    url: &str,
    own: bool,
) -> Result<()> {
    output.line("")?;
    output.line(output.bold("OSCILLINK — what belongs together around a query"))?;
    output.line("")?;
    let text = format!(
        "{entries} dictionary entries, each turned into {dim} numbers by a language model, so that \
         similar meanings lie close together. The usual search takes the entries nearest to the \
         query one by one; it likes to return the same thought several times. Oscillink joins the \
         entries to their nearest neighbours with springs, pulls the whole net towards the query, \
         and lets it settle. Entries that gain most from settling hold the topic together; those \
         that repeat each other, or that nothing holds, gain little."
    );
    paragraph(output, &text)?;
    output.line("")?;
    output.line(format!("Query   {}", output.accent(&cut(query, WIDTH - 8))))?;
    let started = if own {
        ", started for this demo with an empty data folder"
    } else {
        ""
    };
    output.line(format!("Server  {url}{started}"))
}

/// One job's part.
pub fn job(output: Output, number: usize, title: &str, intro: &str, told: &Told) -> Result<()> {
    output.line("")?;
    output.line(output.bold(&format!("{number}. {title}")))?;
    paragraph(output, intro)?;
    output.line("")?;
    let left = pad(&format!("nearest {} by cosine", told.cosine.len()), COLUMN);
    output.line(format!(
        "    {}  {}",
        output.dim(&left),
        output.dim("the bundle")
    ))?;
    for (place, (near, chosen)) in told.cosine.iter().zip(&told.bundle).enumerate() {
        let known = told.cosine.iter().any(|pick| pick.row == chosen.row);
        let right = entry(chosen);
        let right = if known { right } else { output.good(&right) };
        output.line(format!(
            "{:>2}  {}  {right}",
            place + 1,
            pad(&entry(near), COLUMN)
        ))?;
    }
    let left = format!("alike to each other: {:.2}", told.cosine_likeness);
    let right = format!("alike to each other: {:.2}", told.bundle_likeness);
    output.line(format!(
        "    {}  {}",
        output.dim(&pad(&left, COLUMN)),
        output.dim(&right)
    ))?;
    output.line("")?;
    facts(output, told)
}

fn facts(output: Output, told: &Told) -> Result<()> {
    let [settle, stationary] = told.iterations;
    let energy = format!(
        "ΔH = {:.3} removed by settling ({settle} + {stationary} solver iterations)",
        told.delta_h_total
    );
    fact(output, "energy", &energy)?;
    if let Some([min, max, mean]) = told.gates {
        let gates =
            format!("{min:.2} to {max:.2}, mean {mean:.2}: how open the entries are to the query");
        fact(output, "gates", &gates)?;
    }
    fact(output, "null points", &nulls(told))?;
    fact(output, "time", &time(told))?;
    let mode = told
        .signed
        .get("mode")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let signature = format!(
        "{}, HMAC-SHA256 ({mode}) over ΔH and state {}…",
        output.good("verified"),
        told.state_sig.get(..16).unwrap_or_default()
    );
    fact(output, "signature", &signature)?;
    fact(output, "ledger", &ledger(&told.ledger_row))
}

/// A named fact; what does not fit on the line goes on below it.
fn fact(output: Output, name: &str, text: &str) -> Result<()> {
    let mut label = output.dim(&pad(name, LABEL));
    for line in wrap(text, WIDTH - LABEL - 1) {
        output.line(format!("{label} {line}"))?;
        label = pad("", LABEL);
    }
    Ok(())
}

fn nulls(told: &Told) -> String {
    let head = |text: &str| text.split(':').next().unwrap_or_default().to_owned();
    let count = format!(
        "{} of {} entries have a tie that resists (z > 3)",
        told.null_points, told.n
    );
    match told.strongest_null {
        Some([a, b]) => format!("{count}, most of all {} – {}", head(a), head(b)),
        None => count,
    }
}

fn time(told: &Told) -> String {
    let ms = |name: &str| told.timings_ms.get(name).and_then(Value::as_f64);
    let stages = [
        ("gates", "diffusion_gate_ms"),
        ("graph", "graph_build_ms"),
        ("settle", "settle_ms"),
        ("end state", "ustar_solve_ms"),
    ];
    let stages: Vec<String> = stages
        .into_iter()
        .filter_map(|(name, field)| Some(format!("{name} {:.2}", ms(field)?)))
        .collect();
    format!(
        "{:.2} ms of computing ({}); {:.0} ms in all, over HTTP with queue and disk",
        ms("total_settle_ms").unwrap_or(0.0),
        stages.join(", "),
        told.wall_ms
    )
}

fn ledger(row: &Value) -> String {
    let text = |name: &str| match row.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => "?".to_owned(),
    };
    let short = |name: &str| text(name).chars().take(12).collect::<String>();
    format!(
        "row {}: {}, {} × {} = {} units, hash {}… follows {}…",
        text("seq"),
        text("event"),
        text("N"),
        text("D"),
        text("units"),
        short("hash"),
        short("prev_hash")
    )
}

/// What the reader can do next.
pub fn closing(output: Output) -> Result<()> {
    output.line("")?;
    paragraph(
        output,
        "Both jobs went the way every job goes: accepted over HTTP, stored durably, computed by a \
         worker, the receipt signed, the usage entered once in a ledger whose rows form a hash chain.",
    )?;
    output.line("")?;
    output.line("Next:  oscillink demo --query bouillabaisse    another query")?;
    output.line("       oscillink serve                         a server of your own")?;
    output.line("       oscillink --help                        everything else")
}

fn entry(pick: &Pick) -> String {
    cut(pick.text, COLUMN)
}

/// The first `width` characters, with an ellipsis when there were more.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width - 1).collect();
    format!("{}…", kept.trim_end())
}

fn pad(text: &str, width: usize) -> String {
    format!("{text:<width$}")
}

fn paragraph(output: Output, text: &str) -> Result<()> {
    wrap(text, WIDTH)
        .iter()
        .try_for_each(|line| output.line(line))
}

/// The words of `text` in lines of at most `width` characters, colour codes not counted.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().map_or(0, |line| shown(line));
        if line > 0 && line + 1 + shown(word) > width {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

/// Characters that take room on a terminal.
fn shown(text: &str) -> usize {
    let mut count = 0;
    let mut in_code = false;
    for c in text.chars() {
        match c {
            '\u{1b}' => in_code = true,
            'm' if in_code => in_code = false,
            _ if in_code => {}
            _ => count += 1,
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_at_characters() {
        assert_eq!(cut("short", 10), "short");
        assert_eq!(cut("a β c δ e ζ", 6), "a β c…");
    }

    #[test]
    fn lines_are_wrapped_by_what_is_shown() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("\u{1b}[32mone\u{1b}[0m two", 7).len(), 1);
    }
}
