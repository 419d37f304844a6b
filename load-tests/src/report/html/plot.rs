//! A plot of lines as SVG.

use std::fmt::Write as _;

use serde_json::json;

use super::axis::{Axis, Unit};
use super::escape::escape;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 40.0;
/// Lines that labels of disturbances may take, and the width of a letter of theirs.
const LABEL_LINES: usize = 6;
const LETTER: f64 = 6.4;
/// Colours that the style sheet knows.
const COLOURS: usize = 8;

/// A line.
pub(super) struct Line {
    pub name: String,
    /// Values at places; none interrupts the line.
    pub points: Vec<(f64, Option<f64>)>,
    /// Filled down to the axis.
    pub filled: bool,
}

/// A time that is marked.
pub(super) struct Band {
    pub from: f64,
    pub to: f64,
    pub label: String,
}

/// A plot.
pub(super) struct Plot {
    pub title: String,
    pub note: String,
    pub x: Axis,
    pub x_unit: Unit,
    pub x_label: &'static str,
    pub y: Axis,
    pub y_unit: Unit,
    pub y_label: &'static str,
    pub lines: Vec<Line>,
    pub bands: Vec<Band>,
    /// Up to here the run warmed up.
    pub warm_up: f64,
}

impl Plot {
    fn at(&self, x: f64) -> f64 {
        LEFT + self.x.place(x) * (WIDTH - LEFT - RIGHT)
    }

    fn height(&self, y: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.place(y) * (HEIGHT - TOP - BOTTOM)
    }

    /// Appends it as a figure with its legend.
    pub(super) fn write(&self, out: &mut String) -> std::fmt::Result {
        let title = escape(&self.title);
        writeln!(
            out,
            "<figure><figcaption><h3>{title}</h3><p>{}</p></figcaption>",
            self.note
        )?;
        write!(out, "<div class=\"legend\">")?;
        for (place, line) in self.lines.iter().enumerate() {
            let name = escape(&line.name);
            write!(out, "<span class=\"c{}\">{name}</span>", place % COLOURS)?;
        }
        writeln!(out, "</div>")?;
        let data = escape(&self.data().to_string());
        writeln!(
            out,
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\" \
             data-plot=\"{data}\">"
        )?;
        self.write_grid(out)?;
        self.write_bands(out)?;
        for (place, line) in self.lines.iter().enumerate() {
            self.write_line(out, line, place % COLOURS)?;
        }
        writeln!(out, "<g class=\"hover\"></g></svg></figure>")
    }

    /// What the script needs to tell values under the pointer.
    fn data(&self) -> serde_json::Value {
        let lines = self.lines.iter().enumerate().map(|(place, line)| {
            let points = line.points.iter().filter_map(|(x, y)| {
                let y = (*y)?;
                let text = self.y_unit.show(y);
                Some(json!([
                    self.at(*x).round(),
                    self.height(y).round(),
                    self.x_unit.show(*x),
                    text
                ]))
            });
            let points: Vec<_> = points.collect();
            json!({"name": line.name, "class": format!("c{}", place % COLOURS), "points": points})
        });
        json!(lines.collect::<Vec<_>>())
    }

    fn write_grid(&self, out: &mut String) -> std::fmt::Result {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        if self.warm_up > 0.0 {
            let width = self.at(self.warm_up) - LEFT;
            let height = bottom - TOP;
            writeln!(
                out,
                "<rect class=\"warm\" x=\"{LEFT}\" y=\"{TOP}\" width=\"{width:.1}\" \
                 height=\"{height}\"><title>warm-up</title></rect>"
            )?;
        }
        for tick in self.y.ticks() {
            let y = self.height(tick);
            writeln!(
                out,
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/>\
                 <text class=\"tick\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 7.0,
                y + 4.0,
                self.y_unit.show(tick)
            )?;
        }
        for tick in self.x.ticks() {
            let x = self.at(tick);
            let anchor = if x + RIGHT < WIDTH - RIGHT {
                "middle"
            } else {
                "end"
            };
            writeln!(
                out,
                "<path class=\"grid\" d=\"M{x:.1} {bottom}v4\"/>\
                 <text class=\"tick\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>",
                bottom + 17.0,
                self.x_unit.show(tick)
            )?;
        }
        let middle = (TOP + bottom) / 2.0;
        writeln!(
            out,
            "<path class=\"axis\" d=\"M{LEFT} {TOP}V{bottom}H{right}\"/>\
             <text class=\"label\" x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>\
             <text class=\"label\" transform=\"translate(13 {middle}) rotate(-90)\" \
             text-anchor=\"middle\">{}</text>",
            (LEFT + right) / 2.0,
            HEIGHT - 6.0,
            self.x_label,
            self.y_label
        )
    }

    fn write_bands(&self, out: &mut String) -> std::fmt::Result {
        // Where the labels of each line end.
        let mut ends = [0.0_f64; LABEL_LINES];
        for band in &self.bands {
            let (from, to) = (self.at(band.from), self.at(band.to));
            let label = escape(&band.label);
            let width = LETTER * band.label.chars().count() as f64;
            let (anchor, x, begin) = match from + width > WIDTH - RIGHT {
                true => ("end", from - 4.0, from - width),
                false => ("start", from + 4.0, from),
            };
            // The first line with room, else the one that has most.
            let room = |line: &usize| (begin - ends[*line]).min(0.0);
            let line = (0..LABEL_LINES)
                .rev()
                .max_by(|a, b| room(a).total_cmp(&room(b)));
            let line = line.unwrap_or(0);
            ends[line] = begin + width + LETTER;
            let y = TOP + 11.0 + 13.0 * line as f64;
            writeln!(
                out,
                "<g class=\"chaos\"><rect x=\"{from:.1}\" y=\"{TOP}\" width=\"{:.1}\" \
                 height=\"{}\"/><path d=\"M{from:.1} {TOP}V{}\"/>\
                 <text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"{anchor}\">{label}</text></g>",
                (to - from).max(1.0),
                HEIGHT - BOTTOM - TOP,
                HEIGHT - BOTTOM
            )?;
        }
        Ok(())
    }

    fn write_line(&self, out: &mut String, line: &Line, colour: usize) -> std::fmt::Result {
        let bottom = HEIGHT - BOTTOM;
        let runs = line.points.split(|(_, y)| y.is_none());
        for run in runs.filter(|run| !run.is_empty()) {
            let mut path = String::new();
            for (place, (x, y)) in run.iter().enumerate() {
                let letter = if place == 0 { 'M' } else { 'L' };
                let (x, y) = (self.at(*x), self.height(y.unwrap_or(0.0)));
                write!(path, "{letter}{x:.1} {y:.1}")?;
            }
            if let (1, [(x, Some(y))]) = (run.len(), run) {
                let (x, y) = (self.at(*x), self.height(*y));
                writeln!(
                    out,
                    "<circle class=\"dot c{colour}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2\"/>"
                )?;
            } else if line.filled {
                let (first, last) = (self.at(run[0].0), self.at(run[run.len() - 1].0));
                writeln!(
                    out,
                    "<path class=\"area c{colour}\" d=\"{path}L{last:.1} {bottom}L{first:.1} {bottom}Z\"/>"
                )?;
            }
            writeln!(out, "<path class=\"line c{colour}\" d=\"{path}\"/>")?;
        }
        Ok(())
    }
}
