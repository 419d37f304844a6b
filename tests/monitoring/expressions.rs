//! The metrics and labels that an expression of Prometheus' language refers to.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::str::Chars;

/// Words that are neither metrics nor labels. Functions are known by their parenthesis.
const WORDS: [&str; 20] = [
    "sum", "min", "max", "avg", "count", "group", "stddev", "topk", "bottomk", "quantile", "and",
    "or", "unless", "bool", "offset", "atan2", "inf", "Inf", "nan", "NaN",
];
/// Words before a list of labels.
const LISTS: [&str; 6] = [
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
];

/// What an expression refers to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct References {
    /// Metrics.
    pub metrics: BTreeSet<String>,
    /// Labels.
    pub labels: BTreeSet<String>,
    /// Labels that must have just this value.
    pub values: BTreeSet<(String, String)>,
}

/// Finds them.
pub fn references(expression: &str) -> References {
    let mut found = References::default();
    let mut rest = expression.chars().peekable();
    let mut list = false;
    while let Some(&next) = rest.peek() {
        match next {
            '{' => selector(&mut rest, &mut found),
            '[' => drop(rest.by_ref().find(|c| *c == ']')),
            '"' | '\'' => drop(string(&mut rest)),
            ')' => {
                list = false;
                rest.next();
            }
            _ if next.is_ascii_digit() => drop(word(&mut rest)),
            _ if is_name(next) => {
                let name = word(&mut rest);
                let called = rest.clone().find(|c| !c.is_whitespace()) == Some('(');
                if LISTS.contains(&name.as_str()) {
                    list = called;
                } else if list {
                    found.labels.insert(name);
                } else if !called && !WORDS.contains(&name.as_str()) {
                    found.metrics.insert(name);
                }
            }
            _ => drop(rest.next()),
        }
    }
    found
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

fn word(rest: &mut Peekable<Chars<'_>>) -> String {
    let mut word = String::new();
    while let Some(c) = rest.next_if(|c| is_name(*c) || *c == '.') {
        word.push(c);
    }
    word
}

fn string(rest: &mut Peekable<Chars<'_>>) -> String {
    let quote = rest.next();
    let mut text = String::new();
    while let Some(c) = rest.next().filter(|c| Some(*c) != quote) {
        text.push(c);
        if c == '\\' {
            text.extend(rest.next());
        }
    }
    text
}

/// From `{` to `}`.
fn selector(rest: &mut Peekable<Chars<'_>>, found: &mut References) {
    rest.next();
    let (mut label, mut operator) = (String::new(), String::new());
    while let Some(&next) = rest.peek() {
        match next {
            '}' => {
                rest.next();
                return;
            }
            '"' | '\'' => {
                let value = string(rest);
                if operator == "=" {
                    found.values.insert((label.clone(), value));
                }
                operator.clear();
            }
            _ if is_name(next) => {
                label = word(rest);
                found.labels.insert(label.clone());
            }
            '=' | '!' | '~' => operator.extend(rest.next()),
            _ => drop(rest.next()),
        }
    }
}

/// The story of this file.
pub fn found() {
    let found = references(
        r#"sum by (job, le) (rate(a_bucket{route!~"/x|{id}",kind="settle"}[5m])) > 1.5e6 * on(job) group_left max(b:c offset 1d) and d unless e{}"#,
    );
    let set = |names: &[&str]| -> BTreeSet<String> { names.iter().map(|n| (*n).into()).collect() };
    assert_eq!(found.metrics, set(&["a_bucket", "b:c", "d", "e"]));
    assert_eq!(found.labels, set(&["job", "kind", "le", "route"]));
    let kind = ("kind".to_owned(), "settle".to_owned());
    assert_eq!(found.values, BTreeSet::from([kind]));
}
