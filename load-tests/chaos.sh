#!/bin/sh
# Every chaos scenario, each with its report: the rehearsed deployment and the all-in-one server.
# Usage: chaos.sh CLOUD_LOCAL OSCILLINK OSCILLINK_LOAD FOLDER. The full disk needs root for its mount,
# the wrong clocks need libfaketime; without them these are left out, and said to be.
set -u
cloud=$1 server=$2 load=$3 out=$4
here=$(dirname "$0")
mkdir -p "$out"
pids=$(mktemp -d)
trap 'rm -rf "$pids"' EXIT
failed=0

report() { # name, arguments of `run` after the scenario
	name=$1
	shift
	echo "== $name"
	"$load" run "$here/scenarios/$name.toml" --quiet "$@" \
		--json "$out/$name.json" --html "$out/$name.html" || failed=1
}

clock=$pids/clock
library=$(ls /usr/lib/*/faketime/libfaketimeMT.so.1 /usr/lib/faketime/libfaketimeMT.so.1 2>/dev/null | head -n 1)
echo "+0" >"$clock"
set -- # the deployment's own arguments
if [ -n "$library" ]; then
	set -- --worker-env LD_PRELOAD="$library" --worker-env FAKETIME_TIMESTAMP_FILE="$clock" \
		--worker-env FAKETIME_NO_CACHE=1 --worker-env FAKETIME_DONT_FAKE_MONOTONIC=1
else
	echo "chaos: no libfaketime (package faketime): clocks stay right" >&2
fi

echo "== chaos-cloud"
# The script that runs inside is told the process that serves Cloud Tasks and the object store: its parent.
# shellcheck disable=SC2016
# Services and emulators say much; what the harness says goes to our own output.
LOAD=$load SCENARIO=$here/scenarios/chaos-cloud.toml OUT=$out/chaos-cloud PIDS=$pids CLOCK=$clock \
	"$cloud" --program "$server" --supervise "$pids" "$@" \
	--env OSCILLINK_CALLBACK_ALLOW_PRIVATE=true --env OSCILLINK_JOB_LEASE=5 --env OSCILLINK_JOB_REDISPATCH=6 \
	-- sh -c 'exec "$LOAD" run "$SCENARIO" --quiet --target "$OSCILLINK_SERVER" --key "pro=$OSCILLINK_API_KEY" \
		--process "gateway=@$PIDS/gateway" --process "settle-pool=@$PIDS/settle-pool" \
		--process "documents=@$PIDS/documents" --process "events=@$PIDS/events" --process "tasks=$PPID" \
		--hook "workers-clock-behind=echo -90 >$CLOCK; sleep 4; echo +0 >$CLOCK" \
		--hook "workers-clock-ahead=echo +90 >$CLOCK; sleep 4; echo +0 >$CLOCK" \
		--json "$OUT.json" --html "$OUT.html" >&3 2>&3' 3>&1 >"$out/chaos-cloud.log" 2>&1 || failed=1

report chaos-embedded --serve "$server"
if [ "$(id -u)" = 0 ]; then
	report chaos-disk --serve "$server"
else
	echo "chaos: not root: the disk stays as it is" >&2
fi
[ -z "$library" ] || report chaos-clock --serve "$server"
echo "reports are in $out"
exit "$failed"
