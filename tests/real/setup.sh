#!/bin/sh
# Installs servers that others wrote, for the tests in tests/real: sh tests/real/setup.sh nginx loki collector opensearch
# Called by `make real`. Nothing is installed twice. What this machine cannot have is told in one line, and its tests are then
# skipped; the status is not 0 when an installation that was begun has failed, or a name is unknown.
set -eu
cd "$(dirname "$0")/../.."

install_nginx() {
    if command -v nginx >/dev/null || [ -x /usr/sbin/nginx ]; then
        return 0
    fi
    command -v apt-get >/dev/null || {
        echo "nginx: there is no apt-get; install nginx by hand, or its tests will be skipped"
        return 0
    }
    sh bench/setup.sh
}

[ $# -gt 0 ] || {
    echo "Name what to install: nginx, loki, collector, opensearch." >&2
    exit 2
}
failed=0
for name in "$@"; do
    case $name in
        nginx) install_nginx || failed=1 ;;
        loki | collector | opensearch) nice sh "tests/real/$name/build.sh" || failed=1 ;;
        *)
            echo "$name is none of nginx, loki, collector, opensearch." >&2
            exit 2
            ;;
    esac
done
exit $failed
