#!/bin/sh
# Puts OpenSearch into .cache/real/opensearch, for tests/real/test_opensearch.py: the archives of pom.xml, our launcher, and
# a command that starts one node: opensearch PORT FOLDER [SETTING=VALUE …]. Nothing is built twice. Where Java or Maven is
# missing, it says so in one line and ends with status 0: the tests are then skipped.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
made=$(cd "$here/../../.." && pwd)/.cache/real/opensearch
java_min=17

skip() {
    echo "opensearch: $1: its tests will be skipped"
    exit 0
}

for tool in java javac mvn; do
    command -v "$tool" >/dev/null || skip "there is no $tool"
done
java_is=$(javac -version 2>&1 | sed 's/^javac \([0-9]*\).*/\1/')
[ "$java_is" -ge "$java_min" ] || skip "Java $java_min or newer is needed, this is $java_is"

wanted=$(cat "$here/pom.xml" "$here/Launcher.java" "$here/build.sh" | cksum)
if [ "$(cat "$made/.built" 2>/dev/null)" = "$wanted" ]; then
    exit 0
fi

# In a folder of its own, so that a build that is interrupted leaves nothing that looks finished.
new=$made.new
log=$made.log
rm -rf "$new"
mkdir -p "$new"
mvn --batch-mode --strict-checksums --no-transfer-progress --file "$here/pom.xml" \
    dependency:copy-dependencies -DoutputDirectory="$new/lib" >"$log" 2>&1 || {
    echo "opensearch: Maven could not bring it, see $log" >&2
    exit 1
}
javac --release "$java_min" -cp "$new/lib/*" -d "$new" "$here/Launcher.java"
cat >"$new/opensearch" <<'COMMAND'
#!/bin/sh
# opensearch PORT FOLDER [SETTING=VALUE …]
here=$(cd "$(dirname "$0")" && pwd)
exec java -Xms256m -Xmx1g -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$here:$here/lib/*" Launcher "$@"
COMMAND
chmod +x "$new/opensearch"
echo "$wanted" >"$new/.built"
rm -rf "$made"
mv "$new" "$made"
echo "opensearch: built in $made"
