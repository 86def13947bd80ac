#!/bin/sh
# Install what the benchmarks need besides Python from Debian: receiver, load generator, peer. `make bench-setup` calls it.
set -eu

missing=""
command -v nginx >/dev/null || [ -x /usr/sbin/nginx ] || missing="$missing nginx-light"
command -v wrk >/dev/null || missing="$missing wrk"
command -v syslog-ng >/dev/null || [ -x /usr/sbin/syslog-ng ] || missing="$missing syslog-ng-core"
ls /usr/lib/syslog-ng/*/libhttp.so >/dev/null 2>&1 || missing="$missing syslog-ng-mod-http"

if [ -z "$missing" ]; then
    echo "bench-setup: nginx, wrk and syslog-ng with its http module are installed"
    exit 0
fi
as_root=""
[ "$(id -u)" = 0 ] || as_root="sudo"
$as_root apt-get update -qq
# The benchmarks start all three with their own configurations.
# shellcheck disable=SC2086 # the list is meant to be split
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing
