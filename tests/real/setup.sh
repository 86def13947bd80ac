#!/bin/sh
# Installs servers that others wrote, for the tests: sh tests/real/setup.sh nginx postgres pgbouncer
# Called by `make real`. Nothing is installed twice. What this machine cannot have is told in one line, and its tests are then
# skipped; the status is not 0 when an installation that was begun has failed, or a name is unknown.
set -eu
cd "$(dirname "$0")/../.."
all="nginx, postgres, postgres18, pgbouncer, chromium, loki, collector, opensearch"

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

# Debian's package would make a server and start it; the tests want the programs only.
install_postgres() {
    if ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || command -v initdb >/dev/null; then
        return 0
    fi
    install_from_debian postgresql-common || return 1
    command -v apt-get >/dev/null || return 0
    no_server=/etc/postgresql-common/createcluster.d/no-server-for-tests.conf
    as_root mkdir -p "${no_server%/*}"
    echo "create_main_cluster = false" | as_root tee "$no_server" >/dev/null
    install_from_debian postgresql && status=0 || status=1
    as_root rm "$no_server"
    return $status
}

install_pgbouncer() {
    if command -v pgbouncer >/dev/null || [ -x /usr/sbin/pgbouncer ]; then
        return 0
    fi
    install_from_debian pgbouncer
}

install_chromium() {
    if command -v chromium >/dev/null || command -v chromium-browser >/dev/null; then
        return 0
    fi
    install_from_debian chromium && install_from_debian fonts-dejavu-core
}

# Installs a package without starting what it brings: a policy that allows no start stands while it is installed.
install_from_debian() {
    command -v apt-get >/dev/null || {
        echo "$1: there is no apt-get; install it by hand, or its tests will be skipped"
        return 0
    }
    policy=/usr/sbin/policy-rc.d
    if [ -e $policy ]; then
        apt_get_install "$1"
        return
    fi
    printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
    as_root chmod 755 $policy
    apt_get_install "$1" && status_of_apt=0 || status_of_apt=1
    as_root rm $policy
    return $status_of_apt
}

apt_get_install() {
    as_root apt-get update -qq && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$1"
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

[ $# -gt 0 ] || {
    echo "Name what to install: $all." >&2
    exit 2
}
failed=0
for name in "$@"; do
    case $name in
        nginx) install_nginx || failed=1 ;;
        postgres) install_postgres || failed=1 ;;
        pgbouncer) install_pgbouncer || failed=1 ;;
        chromium) install_chromium || failed=1 ;;
        postgres18 | loki | collector | opensearch) nice sh "tests/real/$name/build.sh" || failed=1 ;;
        *)
            echo "$name is none of $all." >&2
            exit 2
            ;;
    esac
done
exit $failed
