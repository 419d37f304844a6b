//! Rules, dashboards and alert policies of `infra/monitoring`, held to a real Prometheus that scrapes
//! a real server.
//!
//! Where Prometheus or Terraform is missing these tests show as ignored, with the reason;
//! `OSCILLINK_REQUIRE_PROMETHEUS=1` and `OSCILLINK_REQUIRE_TERRAFORM=1` make that a failure.
//! `OSCILLINK_UPDATE_INFRA=1` writes the files that are made from others anew.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests state expectations as tests do"
)]

mod cloud;
mod dashboard;
mod expressions;
mod files;
mod live;
mod prometheus;
mod promtool;
mod runbooks;

#[allow(dead_code, reason = "the examples use the rest of it")]
#[path = "../examples/programs.rs"]
mod programs;
#[allow(dead_code, reason = "the stories use the rest of it")]
#[path = "../it/support.rs"]
mod support;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use programs::{PROMETHEUS, TERRAFORM, needs};

fn plain(name: &str, test: fn()) -> Trial {
    Trial::test(name, move || {
        test();
        Ok(())
    })
}

fn main() -> ExitCode {
    let trials: Vec<Trial> = vec![
        plain("names_in_expressions_are_found", expressions::found),
        plain("every_alert_has_its_runbook", runbooks::there),
        plain("every_alert_is_tested_both_ways", promtool::both_ways),
        plain("grafana_can_show_the_dashboard", dashboard::well_formed),
        plain("cloud_monitoring_shows_the_same", cloud::dashboard),
        needs(&PROMETHEUS, "the_rules_are_valid", promtool::rules),
        needs(&PROMETHEUS, "alerts_come_and_stay_away", promtool::alerts),
        needs(
            &PROMETHEUS,
            "what_a_server_exports_is_well_named",
            promtool::metrics,
        ),
        needs(
            &PROMETHEUS,
            "cloud_monitoring_alerts_on_the_same",
            cloud::policies,
        ),
        needs(
            &PROMETHEUS,
            "expressions_ask_for_what_a_server_exports",
            live::everything,
        ),
        needs(&TERRAFORM, "terraform_reads_its_files", cloud::terraform),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
