//! The Grafana dashboard.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::files;

/// Units that panels may have, as Grafana calls them.
const UNITS: [&str; 7] = ["short", "reqps", "ops", "percentunit", "s", "ms", "bytes"];

/// Its panels, rows left out.
pub fn panels() -> Vec<Value> {
    let dashboard = files::json("infra/monitoring/grafana/oscillink.json");
    let panels = dashboard["panels"].as_array().unwrap().iter();
    panels
        .filter(|panel| panel["type"] != "row")
        .cloned()
        .collect()
}

/// Every expression that it asks for.
pub fn expressions() -> Vec<String> {
    let panels = panels();
    let targets = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().unwrap());
    targets
        .map(|target| target["expr"].as_str().unwrap().to_owned())
        .collect()
}

/// It has what Grafana needs, each panel a place of its own, a unit and its data source's variable.
pub fn well_formed() {
    let dashboard = files::json("infra/monitoring/grafana/oscillink.json");
    assert_eq!(dashboard["uid"], "oscillink-cloud");
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 36);
    let variable = &dashboard["templating"]["list"][0];
    assert_eq!(
        (&variable["name"], &variable["type"]),
        (&"datasource".into(), &"datasource".into())
    );
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        assert!(
            ids.insert(panel["id"].as_u64().unwrap()),
            "{title}: its id is taken"
        );
        let at = |side: &str| panel["gridPos"][side].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24, "{title} is wider than the page");
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(cells.insert((x, y)), "{title} lies on another panel");
            }
        }
    }
    for panel in panels() {
        let title = &panel["title"];
        let unit = panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap();
        assert!(UNITS.contains(&unit), "{title}: {unit}");
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{title}");
        for one in targets.iter().chain([&panel]) {
            assert_eq!(one["datasource"]["uid"], "${datasource}", "{title}");
        }
    }
}
