"""Draws time and peak memory against N from what `oscillink bench --json` writes.

    oscillink bench 1000x128 2000x128 5000x128 10000x128 --json > bench.json
    python3 bench/plot.py bench.json docs/performance.svg

Needs nothing but Python.
"""

import json
import math
import sys

WIDTH, HEIGHT, LEFT, TOP, GAP = 400, 260, 62, 40, 90
COLORS = {"job": "#2563eb", "kNN": "#0d9488", "sgemm": "#9ca3af", "beyond the input": "#b45309", "input": "#9ca3af"}
STYLE = """<style>text{font:12px system-ui,sans-serif;fill:#6b7280}.title{font-weight:600;font-size:13px}
.grid{stroke:#9ca3af;stroke-opacity:.25}path{fill:none;stroke-width:2}</style>"""


def decades(values):
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)


def label(power):
    return f"{10**power:,}" if power >= 0 else f"{10**power:.{-power}f}"


def panel(offset, title, series):
    """One log-log chart; `series` maps a name to points of (N, value)."""
    points = [point for line in series.values() for point in line]
    x_low, x_high = decades([x for x, _ in points])
    y_low, y_high = decades([y for _, y in points])

    def place(x, y):
        across = (math.log10(x) - x_low) / (x_high - x_low)
        up = (math.log10(y) - y_low) / (y_high - y_low)
        return offset + across * WIDTH, TOP + (1 - up) * HEIGHT

    parts = [f'<text class="title" x="{offset}" y="{TOP - 18}">{title}</text>']
    for power in range(y_low, y_high + 1):
        _, y = place(10**x_low, 10**power)
        parts.append(f'<line class="grid" x1="{offset}" x2="{offset + WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{offset - 8}" y="{y + 4:.1f}" text-anchor="end">{label(power)}</text>')
    for power in range(x_low, x_high + 1):
        x, _ = place(10**power, 10**y_low)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{TOP + HEIGHT}"/>')
        parts.append(f'<text x="{x:.1f}" y="{TOP + HEIGHT + 18}" text-anchor="middle">{label(power)}</text>')
    for index, (name, line) in enumerate(series.items()):
        color = COLORS[name]
        steps = " L".join(f"{x:.1f} {y:.1f}" for x, y in (place(*point) for point in line))
        parts.append(f'<path d="M{steps}" stroke="{color}"/>')
        for x, y in (place(*point) for point in line):
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>')
        parts.append(f'<text x="{offset + 10}" y="{TOP + 16 + 16 * index}" style="fill:{color}">{name}</text>')
    return parts


def main(source, target):
    with open(source, encoding="utf-8") as file:
        report = json.load(file)
    cases = sorted(report["cases"], key=lambda case: case["rows"])
    columns = {case["columns"] for case in cases}
    if len(columns) != 1:
        sys.exit(f"the cases must have the same number of columns, not {sorted(columns)}")

    def line(name, factor=1.0):
        return [(case["rows"], case[name] * factor) for case in cases if case[name]]

    times = {"job": line("job_ms"), "kNN": line("knn_ms"), "sgemm": line("sgemm_ms")}
    memory = {
        "beyond the input": line("peak_bytes", 1e-6),
        "input": [(case["rows"], case["rows"] * case["columns"] * 4e-6) for case in cases],
    }
    second = LEFT + WIDTH + GAP
    title = f"D = {columns.pop()}, {report['threads']} threads, {report['instructions']}"
    parts = panel(LEFT, f"Time in ms against N ({title})", times)
    parts += panel(second, "Peak memory in MB against N", memory)
    width, height = second + WIDTH + 20, TOP + HEIGHT + 40
    with open(target, "w", encoding="utf-8") as file:
        file.write(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">')
        file.write(STYLE + "\n" + "\n".join(parts) + "\n</svg>\n")


if len(sys.argv) != 3:
    sys.exit(__doc__)
main(*sys.argv[1:])
