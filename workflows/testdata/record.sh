#!/bin/sh
# Records the histories that the workflows are replayed against: runs campaigns to invented people on a throw-away
# PostgreSQL and a Temporal server of its own, and writes replay/*.json.gz beside this file. Takes about three minutes.
#
# A history that is there already and is still good ought to stay: check in only what covers a new path.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
export RECORD_PORT="${RECORD_PORT:-17233}"
mkdir -p "$root/bin"
(cd "$root/devstack" && go build -o "$root/bin/" ./cmd/devstack ./cmd/temporal)
cd "$root"
exec bin/devstack test -- sh -eu -c '
	bin/temporal -database-url "$TEST_DATABASE_URL" -port "$RECORD_PORT" -ui-port 0 >/dev/null &
	server=$!
	trap "kill $server; wait $server || true" EXIT
	RECORD="127.0.0.1:$RECORD_PORT" go test ./worker -count=1 -timeout 10m -run "^TestRecord$" -v
'
