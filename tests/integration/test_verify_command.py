"""Promises of the command: options, exit statuses, the one file, and no other module or network."""

import shutil
import subprocess
import sys
from pathlib import Path

import build_verifier
import pytest

from aegis_stream.verify.__main__ import main
from support.exports import check, write
from support.proof_log import sample


@pytest.fixture(scope="module")
def log():
    """A whole log."""
    return sample(seals=(40,))


def run(*command, **options):
    """Run a command and return what it did."""
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """The one file."""
    path = tmp_path_factory.mktemp("dist") / "aegis-verify.pyz"
    build_verifier.build(path)
    return path


def test_the_one_file_runs_alone(tmp_path, archive, log):
    """Without site-packages, environment and current directory it gives the same verdict."""
    path = write(tmp_path / "e", log.bodies)
    done = run(sys.executable, "-I", "-S", "-W", "error", archive, path, "--key", log.vkey, cwd=tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    assert "verdict     COMPLETE AND UNALTERED" in done.stdout


def test_the_one_file_opens_no_connection_and_runs_nothing(tmp_path, archive, log):
    """An audit hook sees no socket, no process and no file written but temporary ones."""
    path = write(tmp_path / "e", log.bodies)
    program = (
        "import runpy, sys\n"
        "seen = set()\n"
        "sys.addaudithook(lambda event, _: seen.add(event.split('.')[0]))\n"
        f"sys.argv = ['v', {path!r}, '--key', {log.vkey!r}]\n"
        "try:\n"
        f"    runpy.run_path({str(archive)!r}, run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    print(end.code, sorted(seen & {'socket', 'subprocess', 'urllib', 'ctypes', 'ftplib', 'http'}))\n"
    )
    done = run(sys.executable, "-I", "-S", "-c", program)

    assert done.stdout.splitlines()[-1] == "0 []"


@pytest.mark.parametrize("version", ["3.9", "3.10", "3.12", "3.13", "3.14"])
def test_other_versions_of_python(tmp_path, archive, log, version):
    """It runs on Python 3.9 and newer, wherever this machine has one."""
    installed = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    python = str(installed[-1]) if installed else shutil.which(f"python{version}")
    if python is None or run(python, "--version").returncode:
        pytest.skip(f"there is no Python {version} here")
    path = write(tmp_path / "e", log.bodies[:20] + log.bodies[21:])
    done = run(python, "-I", "-S", "-W", "error", archive, path, "--key", log.vkey)

    assert (done.returncode, done.stderr) == (1, "")
    assert "21  (recorded before" in done.stdout
    assert "aegis destination replay DST --from-sequence 21 --to-sequence 21" in done.stdout


def test_the_one_file_is_the_same_every_time(tmp_path, archive):
    """Anybody can build it from the source and compare the bytes."""
    build_verifier.build(tmp_path / "again.pyz")

    assert (tmp_path / "again.pyz").read_bytes() == archive.read_bytes()


def test_the_source_has_no_syntax_that_is_newer(archive):
    """Every file compiles as Python 3.9."""
    import ast

    for one in sorted(build_verifier.SOURCE.glob("*.py")):
        ast.parse(one.read_text(encoding="utf-8"), feature_version=(3, 9))


def test_the_cli_passes_on(tmp_path, log):
    """`aegis verify` has the same options and exit statuses."""
    path = write(tmp_path / "e", log.bodies)
    aegis = Path(sys.executable).with_name("aegis")
    undecided, whole = run(aegis, "verify", path), run(aegis, "verify", path, f"--key={log.vkey}")

    assert (undecided.returncode, whole.returncode) == (3, 0)
    assert "NOT PINNED" in undecided.stdout
    assert "usage: aegis verify" in run(aegis, "verify", "--help").stdout


def test_a_key_may_stand_in_a_file(tmp_path, capsys, log):
    """A file with the key, also in the lines of a policy, is read."""
    for text in (log.vkey, f"# kept\nlog {log.vkey}\nquorum none\n"):
        (tmp_path / "audit.pub").write_text(text)
        assert (
            main([write(tmp_path / "e", log.bodies), "--key", str(tmp_path / "audit.pub")], now_s=2**31) == 0
        )
        capsys.readouterr()


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["e", "--key", "no+such+key"], "--key no+such+key: has a part that is not base64"),
        (["e", "--key", "missing"], "missing: No such file"),
        (["e", "--checkpoint", "e"], "--checkpoint e: it has"),
        (["e", "--against", "empty"], "--against empty: it has no checkpoint"),
        (["e", "--max-age", "2 hours"], "--max-age 2 hours: give a number"),
        (["e", "--max-age", "0h"], "--max-age 0h: give a number"),
        (["e", "--from", "-1"], "--from is below 0"),
        (["nowhere"], "nowhere: No such file"),
        (["."], ".: Is a directory"),
    ],
)
def test_wrong_use_says_what_to_do(tmp_path, capsys, monkeypatch, log, arguments, said):
    """Wrong use is exit status 2 and one line."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "e", log.bodies)
    (tmp_path / "empty").touch()

    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert said in shown.err


def test_unknown_options_are_wrong_use(capsys):
    """Options that do not exist end the command with the same status."""
    with pytest.raises(SystemExit) as end:
        main(["e", "--kee", "x"])

    assert end.value.code == 2
    assert "--kee" in capsys.readouterr().err


def test_one_organization_may_be_chosen(tmp_path, capsys, log):
    """With --org only its log is judged."""
    other = sample(seals=(5,), org="org_xyz", seed=b"\x09")
    path = write(tmp_path / "e", log.bodies + other.bodies[1:])

    found = check(capsys, log, path, "--org", "org_abc", pinned=False)
    assert [one["origin"] for one in found.report["logs"]] == [log.origin]
    assert found.log["damages"] == []
