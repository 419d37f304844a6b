"""Sizes pools and reckons costs from what was measured; writes the tables and the plot of the documents.

    python3 infra/capacity/model.py            # writes docs/operations.md, docs/capacity.md, docs/sizing.svg
    python3 infra/capacity/model.py --check    # fails if they are not what the numbers give

Numbers come from measured.json (measure.py writes it), prices.json and the constants below. Needs
nothing but Python.
"""

import json
import math
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
DOCS = HERE.parent.parent / "docs"
MEASURED = json.loads((HERE / "measured.json").read_text())
LISTED = json.loads((HERE / "prices.json").read_text())["prices"]
PRICES = {name: price["usd"] for name, price in LISTED.items()}

# What is assumed, not measured.
CORES = 4  # of an instance
GIB = 4  # of an instance
BUSY = 0.7  # share of what is paid for that computes: room for bursts, starts and uneven load
KEPT_DAYS = 1  # a result's time to live
# Of each job over Google Cloud, counted from the transactions of shared/engine: accept, claim, complete,
# relay of task and events, expiry; submitted with an idempotency key, polled twice.
FIRESTORE = {"writes": 9, "deletes": 4, "reads": 12}
TASKS = 2  # created, dispatched
EVENTS = 2  # job event, usage event: each is published, and delivered to BigQuery
EVENT_BYTES = 1000
BLOB_BYTES = 96 * 1024  # larger contents are objects
OBJECTS = 4  # of a large job: payload, result, two arrays; payload and result are read once, all are deleted


def erlang_c(servers, load):
    """Share of arrivals that wait, by the recursion of Erlang's B."""
    blocked = 1.0
    for count in range(1, servers + 1):
        blocked = load * blocked / (count + load * blocked)
    busy = load / servers
    return blocked / (1 - busy * (1 - blocked))


def wait(servers, load, share):
    """Wait that `share` of all arrivals stay under, in service times."""
    waiting = erlang_c(servers, load)
    return max(0.0, math.log(waiting / (1 - share)) / (servers - load))


def cores_for(load):
    """Fewest cores on which 95 % of jobs wait no longer than they compute."""
    cores = math.floor(load) + 1
    while wait(cores, load, 0.95) > 1:
        cores += 1
    return cores


def sizes():
    return MEASURED["sizes"]


def name(size):
    return f"{size['rows']}×{size['dims']}"


def units(size):
    return size["rows"] * size["dims"]


def payload(size):
    return units(size) * 4


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def sizing_table():
    rows = []
    for size in sizes():
        for rate in (1, 10, 100, 1000):
            load = rate * size["core_s_per_job"]
            cores = cores_for(load)
            instances = math.ceil(cores / CORES)
            busy = load / (instances * CORES)
            rows.append([name(size), f"{rate:,}", f"{load:.3g}", f"{cores:,}", f"{instances:,}", f"{busy:.0%}"])
    return table(["Jobs", "a second", "offered load, cores", "cores wanted", f"instances of {CORES} vCPU", "busy"], rows)


def busy_table():
    pools = (1, 2, 4, 8, 16, 32, 64)
    shares = [max(busy for busy in range(5, 100) if wait(cores, busy / 100 * cores, 0.95) <= 1) for cores in pools]
    return table(["Cores of the pool"] + [str(cores) for cores in pools], [["busy at most"] + [f"{share} %" for share in shares]])


def cost_of(size):
    """USD a job by part."""
    seconds = size["core_s_per_job"] / BUSY
    large = payload(size) > BLOB_BYTES
    stored = size["blob_bytes_per_job"] / 2**30
    part = {
        "compute": seconds * (PRICES["run_vcpu_s"] + PRICES["run_gib_s"] * GIB / CORES),
        "Firestore": sum(count * PRICES[f"firestore_{what[:-1]}"] for what, count in FIRESTORE.items()),
        "Cloud Storage": large * (OBJECTS * PRICES["storage_class_a"] + 2 * PRICES["storage_class_b"])
        + stored * PRICES["storage_gib_month"] * KEPT_DAYS / 30,
        "Tasks, Pub/Sub": TASKS * PRICES["tasks_operation"]
        + EVENTS * EVENT_BYTES * (PRICES["pubsub_tib"] + PRICES["pubsub_bigquery_tib"]) / 2**40,
        "load balancer": (payload(size) + size["result_bytes"]) / 2**30 * PRICES["load_balancer_gib"],
        "egress": size["result_bytes"] / 2**30 * PRICES["egress_gib"],
    }
    return part


def cost_table(per_units):
    head = ["Jobs of"] + list(cost_of(sizes()[0])) + ["**together**"]
    rows = []
    for size in sizes():
        cost = cost_of(size)
        scale = 1e6 / units(size) if per_units else 1e3
        amounts = [value * scale for value in cost.values()]
        digits = 6 if per_units else 4
        rows.append([name(size)] + [f"{amount:.{digits}f}" for amount in amounts] + [f"**{sum(amounts):.{digits}f}**"])
    return table(head, rows)


def said_by(source, note=""):
    """The page that says so; `note` tells what it does not say itself."""
    if source == "memory":
        return "from memory"
    label = source.removeprefix("https://").removeprefix("docs.").removeprefix("cloud.google.com/")
    return f"[{label}]({source})" + (f", {note}" if note else "")


def amount(usd):
    return f"{usd:.7f}".rstrip("0").rstrip(".") if usd < 0.001 else f"{usd:g}"


def price_table():
    rows = [
        [price["what"], price["per"], amount(price["usd"]), said_by(price["source"], price.get("note", ""))]
        for price in LISTED.values()
    ]
    return table(["What", "per", "USD", "Source"], rows)


def measured_table():
    rows = [
        [
            name(size),
            f"{units(size):,}",
            f"{size['jobs']:,}",
            f"{size['core_s_per_job'] * 1e3:.2f} ms",
            f"{size['blob_bytes_per_job']:,}",
            f"{size['result_bytes']:,}",
            f"{size['peak_memory_bytes'] / 2**20:,.0f} MiB",
        ]
        for size in sizes()
    ]
    head = ["N×D", "units", "jobs measured", "processor time a job", "bytes kept in objects a job", "bytes of a result without arrays", "peak memory of the server"]
    return f"{MEASURED['machine']}, {MEASURED['date']}.\n\n" + table(head, rows)


def demand_table():
    size = sizes()[-1]
    rate = 1000
    load = rate * size["core_s_per_job"]
    instances = math.ceil(load / BUSY / CORES)
    writes = rate * (FIRESTORE["writes"] + FIRESTORE["deletes"])
    inbound = rate * payload(size) * 8 / 1e9
    kept = rate * size["blob_bytes_per_job"] * 8 / 1e9
    gcp, firebase = "https://cloud.google.com", "https://firebase.google.com/docs"
    quota = math.ceil(load / BUSY)
    rows = [
        ["Cloud Run, workers and gateways", f"{load:,.0f} cores of work, {load / BUSY:,.0f} paid: {instances:,} instances of {CORES} vCPU", f"8 vCPU an instance; as many instances as the region's quotas of vCPU and memory have room for: {1000 // CORES} of {CORES} vCPU in one of 1,000 vCPU", said_by(f"{gcp}/run/docs/configuring/services/cpu") + ", " + said_by(f"{gcp}/run/docs/configuring/max-instances-limits"), f"Holds with a quota of {quota} vCPU and {quota * GIB // CORES} GiB"],
        ["Cloud Run, bodies", f"{payload(size) / 1e6:.2f} MB each", "32 MiB a request over HTTP/1, none over HTTP/2", said_by(f"{gcp}/run/quotas", "quoted"), "Holds; larger ones need HTTP/2 end to end"],
        ["Firestore, documents written", f"{writes:,} a second ({FIRESTORE['writes']} writes and {FIRESTORE['deletes']} deletes a job)", "None for a database", said_by(f"{firebase}/database/rtdb-vs-firestore", "quoted"), "Holds"],
        ["Firestore, a new collection", f"{rate:,} a second", "500/50/5: begin at 500 a second, half as much again every 5 minutes", said_by(f"{firebase}/firestore/best-practices", "quoted"), f"Ramp for {ramp_minutes(rate)} minutes"],
        ["Firestore, rising index values", f"{rate:,} a second in `jobs` (`created_at`, `due_at`, `expires_at`), `usage_ledger` (`ts`), `idempotency` (`expires_at`)", "500 a second in a collection with an index on a value that only rises", said_by(f"{gcp}/firestore/docs/best-practices"), f"**Exceeded {rate / 500:.0f} times**: cells"],
        ["Firestore, one document", "2 writes a job on a key's meter, over up to 64 shards", "No figure any more: \"depends highly on the workload\". About 1 a second was Google's figure before", said_by(f"{firebase}/firestore/best-practices", "quoted"), f"**{64 // 2} jobs a second for one key** by the figure of before, so {math.ceil(rate / (64 // 2))} keys at least; measure it"],
        ["Firestore, reads", f"{rate * FIRESTORE['reads']:,} a second", "None known to us for a database", said_by("memory"), "Holds"],
        ["Cloud Tasks, dispatches", f"{rate:,} a second", "500 a second a queue; 1,000 queues a region", said_by(f"{gcp}/tasks/docs/quotas"), f"**Exceeded {rate / 500:.0f} times for one queue**: cells"],
        ["Cloud Tasks, under way", f"{rate * size['core_s_per_job']:,.0f} at once, if each has a core", "5,000 a queue; `queues.json` sets 256", said_by(f"{gcp}/python/docs/reference/cloudtasks/latest/google.cloud.tasks_v2.types.RateLimits"), "Raise `max_concurrent_dispatches` or cells"],
        ["Cloud Storage, requests", f"{2 * OBJECTS * rate:,} writes (half of them deletes) and {2 * rate:,} reads a second", "About 1,000 writes, deletes among them, and 5,000 reads a second in a new bucket, doubling every 20 minutes", said_by(f"{gcp}/storage/docs/request-rate"), f"Ramp for {20 * math.ceil(math.log2(2 * OBJECTS * rate / 1000))} minutes; names begin with a day and the job's time, and names in sequence are slow to be spread: cells"],
        ["Cloud Storage, bytes", f"{kept:.0f} Gbit/s written, {inbound:.0f} Gbit/s read", "200 Gbit/s of reads by Google's services a region by default", said_by(f"{gcp}/storage/quotas", "quoted"), "Reads hold; for writes ask Google before, or keep no arrays"],
        ["Pub/Sub", f"{EVENTS * rate:,} events a second, {EVENTS * rate * EVENT_BYTES / 1e6:.0f} MB/s", "200 MB/s published in a large region (an older copy; more since, from memory); 1 MB/s an ordering key", said_by(f"{gcp}/pubsub/quotas"), f"Holds up to {1_000_000 // (EVENTS * EVENT_BYTES)} jobs a second for one key"],
        ["Load balancer, bodies in", f"{inbound:.0f} Gbit/s", "No ceiling known to us", said_by("memory"), "Ask Google before"],
        ["Egress, results", f"{rate * size['result_bytes'] * 8 / 1e9:.2f} Gbit/s", "Quota of the project", said_by("memory"), "Arrays downloaded as npy are more: see below"],
    ]
    return table(["What", f"Demand at {rate:,} jobs of {name(size)} a second", "Limit", "Source", "Verdict"], rows)


def ramp_minutes(rate):
    steps = math.ceil(math.log(rate / 500) / math.log(1.5))
    return max(0, 5 * steps)


def cells_text():
    size = sizes()[-1]
    cells = 4
    rate = 1000 / cells
    month = 1000 * 86400 * 30
    job = cost_of(size)
    return (
        f"{cells} cells carry {rate:.0f} jobs a second each: half of what one queue and one rising index take. "
        f"{1000 * size['core_s_per_job'] / BUSY / cells:,.0f} vCPU each, "
        f"{math.ceil(1000 * size['core_s_per_job'] / BUSY / cells / CORES):,} instances of {CORES}.\n\n"
        f"In a month of 30 days that is {month / 1e9:.2f} billion jobs, {month * units(size) / 1e12:,.0f} trillion units and, at the prices "
        f"above, {sum(job.values()) * month / 1e3:,.0f} thousand USD: {job['compute'] * month / 1e3:,.0f} thousand of it for computing, "
        f"{(job['Firestore'] + job['Tasks, Pub/Sub']) * month / 1e3:,.0f} thousand for Firestore, Cloud Tasks and Pub/Sub, "
        f"{job['Cloud Storage'] * month / 1e3:,.0f} thousand for objects, {job['load balancer'] * month / 1e3:,.0f} thousand for the load balancer, "
        f"{job['egress'] * month / 1e3:,.0f} thousand for results sent to clients ({job['egress'] * month * PRICES['egress_gib_much'] / PRICES['egress_gib'] / 1e3:,.0f} thousand "
        f"at the price beyond 10 TiB). Cloud Tasks would carry out {TASKS * month / 1e9:.2f} billion operations: beyond 5 billion Google has no list price. "
        f"Whoever downloads the settled array of each job as npy ({payload(size) / 1e6:.2f} MB) pays "
        f"{payload(size) / 2**30 * (PRICES['egress_gib'] + PRICES['load_balancer_gib']) * 1e3:.2f} USD more for a thousand jobs: more than all the rest."
    )


BLOCKS = {
    "operations.md": {"sizing": sizing_table, "busy": busy_table},
    "capacity.md": {
        "measured": measured_table,
        "prices": price_table,
        "cost of a thousand jobs": lambda: cost_table(per_units=False),
        "cost of a million units": lambda: cost_table(per_units=True),
        "demand": demand_table,
        "cells": cells_text,
    },
}


def with_blocks(text, blocks):
    """Text with what stands between the markers of each block made anew."""
    for title, make in blocks.items():
        begin, end = f"<!-- made by infra/capacity/model.py: {title} -->\n", "<!-- end -->"
        before, rest = text.split(begin)
        _, after = rest.split(end, 1)
        text = f"{before}{begin}\n{make()}\n\n{end}{after}"
    return text


WIDTH, HEIGHT, LEFT, TOP, GAP = 380, 260, 64, 40, 96
COLORS = ["#2563eb", "#0d9488", "#b45309", "#9333ea"]
STYLE = """<style>text{font:12px system-ui,sans-serif;fill:#6b7280}.title{font-weight:600;font-size:13px}
.grid{stroke:#9ca3af;stroke-opacity:.25}path{fill:none;stroke-width:2}</style>"""


def chart(offset, title, below, x_ticks, y_ticks, across, up, lines):
    """One chart; `across` and `up` map values to shares of its sides."""
    parts = [f'<text class="title" x="{offset}" y="{TOP - 18}">{title}</text>']
    parts.append(f'<text x="{offset + WIDTH / 2}" y="{TOP + HEIGHT + 38}" text-anchor="middle">{below}</text>')
    for value, text in y_ticks:
        y = TOP + (1 - up(value)) * HEIGHT
        parts.append(f'<line class="grid" x1="{offset}" x2="{offset + WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{offset - 8}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    for value, text in x_ticks:
        x = offset + across(value) * WIDTH
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{TOP + HEIGHT}"/>')
        parts.append(f'<text x="{x:.1f}" y="{TOP + HEIGHT + 18}" text-anchor="middle">{text}</text>')
    for index, (label, points) in enumerate(lines):
        color = COLORS[index]
        placed = [(offset + across(x) * WIDTH, TOP + (1 - up(y)) * HEIGHT) for x, y in points if 0 <= up(y) <= 1]
        parts.append('<path d="M' + " L".join(f"{x:.1f} {y:.1f}" for x, y in placed) + f'" stroke="{color}"/>')
        parts.append(f'<text x="{offset + 10}" y="{TOP + 16 + 16 * index}" style="fill:{color}">{label}</text>')
    return parts


def plot():
    def logarithmic(low, high):
        return lambda value: (math.log10(value) - low) / (high - low)

    busy = [share / 200 for share in range(60, 198)]
    waits = [(f"{cores} cores", [(share, wait(cores, share * cores, 0.95)) for share in busy]) for cores in (1, 4, 16, 64)]
    percent = [(share / 10, f"{share * 10} %") for share in range(3, 11)]
    parts = chart(
        LEFT, "Wait of 95 % of jobs, in times of one job", "share of time busy", percent, [(v, str(v)) for v in range(0, 11, 2)],
        lambda x: (x - 0.3) / 0.7, lambda y: y / 10, waits,
    )
    rates = [10 ** (step / 20) for step in range(0, 61)]
    pools = [
        (name(size), [(rate, cores_for(rate * size["core_s_per_job"])) for rate in rates]) for size in sizes()
    ]
    powers = [(10**power, f"{10**power:,}") for power in range(4)]
    parts += chart(
        LEFT + WIDTH + GAP, "Cores wanted", "jobs a second", powers, powers,
        logarithmic(0, 3), logarithmic(0, 3), pools,
    )
    width, height = LEFT + 2 * WIDTH + GAP + 24, TOP + HEIGHT + 52
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">'
    return "\n".join([head, "<title>How busy workers may be, and how many are needed</title>", STYLE, *parts, "</svg>"]) + "\n"


def main(check):
    # From tables of the formula, and by hand for one server.
    assert abs(erlang_c(10, 8) - 0.4092) < 5e-4 and abs(erlang_c(1, 0.5) - 0.5) < 1e-9
    made = {DOCS / file: with_blocks((DOCS / file).read_text(), blocks) for file, blocks in BLOCKS.items()}
    made[DOCS / "sizing.svg"] = plot()
    for path, text in made.items():
        if not check:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            raise SystemExit(f"{path.name} is not what the numbers give: python3 infra/capacity/model.py")


if __name__ == "__main__":
    main("--check" in sys.argv[1:])
