#!/bin/sh
# What the harness itself can do: 20,000 requests a second of /health on one core, and percentiles
# beside those of wrk at a low load. Usage: measure.sh [OSCILLINK] [OSCILLINK_LOAD]
set -eu
server=${1:-target/release/oscillink}
load=${2:-target/release/oscillink-load}
here=$(dirname "$0")
dir=$(mktemp -d)
OSCILLINK_DATA_DIR="$dir/data" OSCILLINK_LOG=warn taskset -c 1 \
	"$server" serve --port 0 --ready-file "$dir/ready.json" >"$dir/log" 2>&1 &
pid=$!
trap 'kill "$pid"; wait "$pid" || true; rm -rf "$dir"' EXIT
while [ ! -s "$dir/ready.json" ]; do sleep 0.05; done
url=$(sed 's/.*"url":"\([^"]*\)".*/\1/' "$dir/ready.json")

echo "== 20,000 requests a second, open loop, harness on core 0, server on core 1"
taskset -c 0 "$load" run "$here/scenarios/health.toml" --target "$url" --quiet || true

cat >"$dir/closed.toml" <<END
name = "closed"
duration = "6s"
warm_up = "1s"
[[flows]]
name = "health"
kind = "probe"
arrivals = { shape = "closed", users = 1 }
END
echo "== low load: one connection, wrk and the harness in turns"
for turn in 1 2 3; do
	taskset -c 0 wrk --threads 1 --connections 1 --duration 5s --latency "$url/health" |
		awk '$1 ~ /^(50|75|90|99)%$/ { printf "wrk      p%s %s\n", $1, $2 } /Requests\/sec/ { print "wrk      " $0 }'
	taskset -c 0 "$load" run "$dir/closed.toml" --target "$url" --quiet --json "$dir/closed.json" >/dev/null
	python3 - "$dir/closed.json" <<'END'
import json, sys
report = json.load(open(sys.argv[1]))["flows"][0]
summary = report["summary"]
latency = summary["latency"]
for name in ("p50", "p90", "p99"):
    print(f"harness  {name}% {latency[name + '_s'] * 1e6:.2f}us")
print(f"harness  {summary['throughput']:.0f}/s")
END
done
