#!/bin/sh
# Builds an OpenTelemetry Collector into .cache/real/collector, for tests/real/test_collector.py: what manifest.yaml names, by
# the collector's own builder, every module in the version and with the checksum of go.mod and go.sum. Nothing is built twice.
# Where Go is missing, it says so in one line and ends with status 0: the tests are then skipped.
#
#     build.sh        builds it
#     build.sh pin    writes go.mod and go.sum anew, after a change of manifest.yaml
set -eu

here=$(cd "$(dirname "$0")" && pwd)
made=$(cd "$here/../../.." && pwd)/.cache/real/collector
version=$(sed -n 's/^ *version: *//p' "$here/manifest.yaml")
export CGO_ENABLED=0 GOTOOLCHAIN=local GOWORK=off GOFLAGS=-buildvcs=false

skip() {
    echo "collector: $1: its tests will be skipped"
    exit 0
}

command -v go >/dev/null || skip "there is no go"
go_min=$(sed -n 's/^go //p' "$here/go.mod")
go_is=$(go env GOVERSION | sed 's/^go//')
[ "$(printf '%s\n' "$go_min" "$go_is" | sort -V | head -n 1)" = "$go_min" ] || skip "Go $go_min or newer is needed, this is $go_is"

wanted=$(cat "$here/manifest.yaml" "$here/go.sum" "$here/build.sh" | cksum)
if [ "${1:-}" != pin ] && [ "$(cat "$made/.built" 2>/dev/null)" = "$wanted" ]; then
    exit 0
fi

# In a folder of its own, so that a build that is interrupted leaves nothing that looks finished.
new=$made.new
log=$made.log
rm -rf "$new"
mkdir -p "$new/build"

fetch_builder() {
    GOBIN=$new go install "go.opentelemetry.io/collector/cmd/builder@v$version"
}

generate() {
    (cd "$new" && ./builder --config="$here/manifest.yaml" --skip-compilation "$@")
}

if [ "${1:-}" = pin ]; then
    fetch_builder
    # The builder writes go.mod and then wants what the tests of all modules need, too; -e does without what cannot be had.
    generate || (cd "$new/build" && go mod tidy -e)
    cp "$new/build/go.mod" "$new/build/go.sum" "$here"
    rm -rf "$new"
    exit 0
fi

compile() {
    fetch_builder && generate --skip-get-modules && cp "$here/go.mod" "$here/go.sum" "$new/build" &&
        (cd "$new/build" && go build -mod=readonly -trimpath -ldflags="-s -w" -o ../otelcol .)
}

echo "collector: being built, which takes two to six minutes on two cores"
compile >"$log" 2>&1 || {
    echo "collector: it cannot be built, see $log" >&2
    exit 1
}
rm -rf "$new/build" "$new/builder" "$made"
echo "$wanted" >"$new/.built"
mv "$new" "$made"
echo "collector: built in $made"
