"""Measures what one job costs the whole service: processor time, bytes kept, bytes answered.

    cargo build --release --package oscillink --package oscillink-load-tests
    python3 infra/capacity/measure.py target/release/oscillink target/release/oscillink-load > infra/capacity/measured.json

Each size runs alone on a server of its own, two users in a closed loop, jobs as npy bodies with a
callback-free poll. Processor time is the server's from /proc, without the time of an idle server.
"""

import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import time
import urllib.request

SIZES = [(80, 32, 12), (800, 128, 12), (5000, 384, 24)]
SCENARIO = """name = "one size"
duration = "{seconds}s"
[bounds]
in_flight = 64
timeout = "60s"
drain = "60s"
[[tenants]]
name = "big"
tier = "enterprise"
[[problems]]
name = "one"
rows = {rows}
dims = {dims}
count = 4
body = "npy"
[[flows]]
name = "jobs"
kind = "poll"
problem = "one"
arrivals = {{ shape = "closed", users = 2 }}
"""
ADMIN = "capacity-admin-secret"
TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def bytes_below(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def start(program, folder):
    ready = folder / "ready.json"
    environment = {
        **os.environ,
        "OSCILLINK_DATA_DIR": str(folder / "data"),
        "OSCILLINK_LOG": "warn",
        "OSCILLINK_API_KEYS": "capacity-key-0123456789",
        "OSCILLINK_KEY_TIERS": "capacity-key-0123456789:enterprise",
        "OSCILLINK_ADMIN_SECRET": ADMIN,
    }
    server = subprocess.Popen(
        [program, "serve", "--host", "127.0.0.1", "--port", "0", "--ready-file", str(ready)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=open(folder / "log", "w"),
    )
    for _ in range(2000):
        if ready.exists() and ready.stat().st_size:
            return server, json.loads(ready.read_text())["url"]
        time.sleep(0.01)
    raise SystemExit((folder / "log").read_text())


def answer(url, path):
    request = urllib.request.Request(url + path, headers={"x-api-key": "capacity-key-0123456789"})
    with urllib.request.urlopen(request) as response:
        return response.read()


def measure(program, load, rows, dims, seconds):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        scenario, report = folder / "scenario.toml", folder / "report.json"
        scenario.write_text(SCENARIO.format(rows=rows, dims=dims, seconds=seconds))
        server, url = start(program, folder)
        try:
            time.sleep(2)
            idle = cpu_seconds(server.pid)
            time.sleep(4)
            idle = (cpu_seconds(server.pid) - idle) / 4
            begun, cpu = time.monotonic(), cpu_seconds(server.pid)
            command = [load, "run", str(scenario), "--target", url, "--key", "big=capacity-key-0123456789", "--admin-secret", ADMIN]
            run = subprocess.run([*command, "--quiet", "--json", str(report)], stdout=subprocess.PIPE, text=True)
            cpu = cpu_seconds(server.pid) - cpu - idle * (time.monotonic() - begun)
            if run.returncode != 0:
                raise SystemExit(f"{run.stdout}\n{(folder / 'log').read_text()}")
            told = json.loads(report.read_text())
            jobs = told["correctness"]["totals"]["accepted"]
            job = json.loads(answer(url, "/v1/jobs?limit=1"))["items"][0]["job_id"]
            return {
                "rows": rows,
                "dims": dims,
                "jobs": jobs,
                "core_s_per_job": round(cpu / jobs, 6),
                "blob_bytes_per_job": round(bytes_below(folder / "data" / "blobs") / jobs),
                "result_bytes": len(answer(url, f"/v1/jobs/{job}/result")),
                "peak_memory_bytes": memory_peak(server.pid),
            }
        finally:
            server.terminate()
            server.wait()


def memory_peak(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def main(program, load):
    cpu = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":", 1)[1].strip() for line in cpu if line.startswith("model name")), platform.machine())
    sizes = [measure(program, load, *size) for size in SIZES]
    print(json.dumps({"machine": f"{os.cpu_count()} cores, {model}", "date": time.strftime("%Y-%m-%d"), "sizes": sizes}, indent=2))


if __name__ == "__main__":
    main(*sys.argv[1:])
