#!/bin/sh
# Builds Grafana Loki into .cache/real/loki, for tests/real/test_loki.py, with every module in the version and with the checksum
# of Loki's own go.mod and go.sum. Nothing is built twice. Where Go is missing or too old, it says so in one line and ends with
# status 0: the tests are then skipped.
set -eu

version=v3.7.8
module=github.com/grafana/loki/v3
# Lies in a folder of Loki's repository that its module leaves out; go.mod names the version that is published.
nested=github.com/grafana/loki/pkg/push

here=$(cd "$(dirname "$0")" && pwd)
made=$(cd "$here/../../.." && pwd)/.cache/real/loki
export CGO_ENABLED=0 GOTOOLCHAIN=local GOWORK=off GOFLAGS=-buildvcs=false

skip() {
    echo "loki: $1: its tests will be skipped"
    exit 0
}

wanted=$(cksum <"$here/build.sh")
if [ "$(cat "$made/.built" 2>/dev/null)" = "$wanted" ]; then
    exit 0
fi
command -v go >/dev/null || skip "there is no go"

# In a folder of its own, so that a build that is interrupted leaves nothing that looks finished.
new=$made.new
log=$made.log
rm -rf "$new"
mkdir -p "$new"
cd "$new"
go mod download -json "$module@$version" >"$log" 2>&1 || {
    echo "loki: its modules cannot be had, see $log" >&2
    exit 1
}
source=$(sed -n 's/^\t"Dir": "\(.*\)",$/\1/p' "$log")
go_min=$(sed -n 's/^go //p' "$source/go.mod")
go_is=$(go env GOVERSION | sed 's/^go//')
[ "$(printf '%s\n' "$go_min" "$go_is" | sort -V | head -n 1)" = "$go_min" ] || skip "Go $go_min or newer is needed, this is $go_is"

cat "$source/go.mod" >go.mod
cat "$source/go.sum" >go.sum
go mod edit -dropreplace "$nested" go.mod
echo "loki: being built, which takes ten minutes or so on two cores"
(cd "$source" && go build -modfile="$new/go.mod" -mod=mod -trimpath -ldflags="-s -w" -o "$new/loki" ./cmd/loki) >>"$log" 2>&1 || {
    echo "loki: it cannot be built, see $log" >&2
    exit 1
}
rm go.mod go.sum
echo "$wanted" >.built
rm -rf "$made"
mv "$new" "$made"
echo "loki: built in $made"
