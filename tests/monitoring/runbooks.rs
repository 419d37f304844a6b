//! Every alert leads to what to do about it.

use crate::files;

/// The anchor that a heading gets.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase().replace(' ', "-");
    kept.chars()
        .filter(|c| c.is_alphanumeric() || "-_".contains(*c))
        .collect()
}

/// The story of this file.
pub fn there() {
    let rules = files::text("infra/monitoring/prometheus/rules/alerts.yml");
    let urls: Vec<&str> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("runbook_url: "))
        .collect();
    assert_eq!(urls.len(), rules.matches("- alert:").count());
    for url in urls {
        let (file, wanted) = url.split_once('#').unwrap();
        let document = files::text(file);
        let mut headings = document
            .lines()
            .filter(|line| line.starts_with('#'))
            .map(|line| anchor(line.trim_start_matches('#')));
        assert!(
            headings.any(|heading| heading == wanted),
            "{url} leads nowhere"
        );
    }
}
