//! What is printed: tables and colours for a terminal, JSON for everything else.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use owo_colors::{OwoColorize as _, Style};
use serde::Serialize;

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Flags that decide how things are shown.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct DisplayArgs {
    /// Print JSON (the default when the output is not a terminal)
    #[arg(long, global = true)]
    pub json: bool,
    /// When to use colours: auto, always or never; NO_COLOR is respected
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "WHEN",
        hide_possible_values = true
    )]
    pub color: Color,
}

/// Where and how results are printed. Notes and progress go to standard error.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    json: bool,
    color: bool,
    progress: bool,
}

impl Output {
    /// Decides the form from the flags, the terminal and the environment.
    pub fn new(args: DisplayArgs) -> Self {
        let terminal = io::stdout().is_terminal();
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        Self {
            json: args.json || !terminal,
            color: match args.color {
                Color::Auto => terminal && wanted,
                Color::Always => true,
                Color::Never => false,
            },
            progress: io::stderr().is_terminal() && !args.json,
        }
    }

    /// The same, with text for people unless JSON was asked for by name: for commands that tell a
    /// story rather than return data.
    pub const fn prose(mut self, args: DisplayArgs) -> Self {
        self.json = args.json;
        self
    }

    /// Whether results are printed as JSON.
    pub const fn json(&self) -> bool {
        self.json
    }

    /// Prints a value as JSON: one line in a pipe, indented on a terminal.
    pub fn print_json(&self, value: &impl Serialize) -> Result<()> {
        let mut out = io::stdout().lock();
        if out.is_terminal() {
            serde_json::to_writer_pretty(&mut out, value)?;
        } else {
            serde_json::to_writer(&mut out, value)?;
        }
        writeln!(out)?;
        Ok(out.flush()?)
    }

    /// Prints one line.
    pub fn line(&self, text: impl AsRef<str>) -> Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "{}", text.as_ref())?;
        Ok(out.flush()?)
    }

    /// Prints rows under headers.
    pub fn table<R>(&self, headers: &[&str], rows: R) -> Result<()>
    where
        R: IntoIterator<Item = Vec<String>>,
    {
        let mut table = Table::new();
        table
            .load_preset(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_header(headers.iter().map(|h| self.bold(h)));
        for row in rows {
            table.add_row(row);
        }
        self.line(table.trim_fmt())
    }

    /// A heading.
    pub fn bold(&self, text: &str) -> String {
        self.paint(text, Style::new().bold())
    }

    /// Something that matters less.
    pub fn dim(&self, text: &str) -> String {
        self.paint(text, Style::new().dimmed())
    }

    /// Good news.
    pub fn good(&self, text: &str) -> String {
        self.paint(text, Style::new().green())
    }

    /// Bad news.
    pub fn bad(&self, text: &str) -> String {
        self.paint(text, Style::new().red())
    }

    /// Something to look at.
    pub fn accent(&self, text: &str) -> String {
        self.paint(text, Style::new().cyan())
    }

    /// A job's status in the colour of its meaning.
    pub fn status(&self, status: &str) -> String {
        match status {
            "done" => self.good(status),
            "error" | "expired" => self.bad(status),
            "running" => self.accent(status),
            _ => self.dim(status),
        }
    }

    fn paint(&self, text: &str, style: Style) -> String {
        if self.color {
            text.style(style).to_string()
        } else {
            text.to_owned()
        }
    }

    /// A progress bar on a terminal, a hidden one elsewhere. `position` runs from 0 to 1000.
    pub fn progress(&self, message: &str) -> ProgressBar {
        if !self.progress {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new(1_000);
        let style = ProgressStyle::with_template("{spinner} {msg:28} {bar:32} {elapsed}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style);
        bar.set_message(message.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        bar
    }
}

/// Prints a note for people on standard error.
pub fn note(text: impl AsRef<str>) {
    // A closed standard error leaves no one to tell.
    let _ = writeln!(io::stderr().lock(), "{}", text.as_ref());
}
