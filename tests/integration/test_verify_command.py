"""Promises of the command: options, exit statuses, the one file, and no other module or network."""

import gzip
import shutil
import subprocess
import sys
from pathlib import Path

import build_verifier
import pytest

from aegis_stream.control import verifier_file
from aegis_stream.verify.__main__ import KEYS_MAX, main
from support.exports import check, sorted_names, write
from support.proof_log import Signer, sample


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


GUARDED = """\
import runpy, sys
forbidden = ("socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "ctypes.", "urllib.", "ftplib.", "http.")
temporary = __import__("tempfile").gettempdir()
def refuse(event, arguments):
    if event.startswith(forbidden):
        raise RuntimeError("the verifier did " + event)
    if event == "open" and isinstance(arguments[0], str) and arguments[1] and set(arguments[1]) & set("wax+"):
        if not arguments[0].startswith(temporary):
            raise RuntimeError("the verifier wrote " + arguments[0])
sys.addaudithook(refuse)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs a program that may open no connection, start no process and write no file but temporary ones: the interpreter refuses it."""
VERSIONS = ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14")


def python_of(version):
    """Return an interpreter of a version that this machine has; skip the test if there is none."""
    own = Path.home().glob(f".pyenv/versions/{version}.*/bin/python")
    newest_first = sorted(own, key=lambda one: int(one.parts[-3].split(".")[2]), reverse=True)
    for python in (*map(str, newest_first), sys.executable, shutil.which(f"python{version}")):
        if python is not None and run(python, "-V").stdout.startswith(f"Python {version}."):
            return python
    pytest.skip(f"there is no Python {version} here")


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_of_python_gives_the_verdict_without_a_connection(tmp_path, archive, log, version):
    """On Python 3.9 and newer, without site-packages, it judges a whole export, a damaged one and other shapes, and needs nothing."""
    python = python_of(version)
    whole = write(tmp_path / "whole", log.bodies)
    damaged = write(tmp_path / "damaged", log.bodies[:20] + log.bodies[21:])
    rewritten = write(tmp_path / "rewritten", sorted_names(log.bodies))
    (tmp_path / "whole.gz").write_bytes(gzip.compress(Path(whole).read_bytes()))

    def verified(*names):
        return run(
            *(python, "-I", "-S", "-W", "error", "-c", GUARDED, archive, *names, "--key", log.vkey),
            cwd=tmp_path,
        )

    done = [verified(whole), verified("whole.gz", damaged), verified(rewritten), verified(damaged)]

    assert [(one.returncode, one.stderr) for one in done] == [(0, ""), (0, ""), (0, ""), (1, "")]
    assert "21  (recorded before" in done[3].stdout
    assert "aegis destination replay DST --from-sequence 21 --to-sequence 21" in done[3].stdout


@pytest.mark.parametrize(
    "attempt",
    [
        "__import__('socket').socket()",
        "__import__('subprocess').run(['true'])",
        "__import__('os').system('true')",
        "open('elsewhere', 'w')",
    ],
)
def test_the_guard_would_notice(tmp_path, attempt):
    """What the verifier must not do is refused where another program does it."""
    program = tmp_path / "program.py"
    program.write_text(f"{attempt}\n")
    done = run(sys.executable, "-I", "-S", "-c", GUARDED, program, cwd=tmp_path)

    assert done.returncode == 1
    assert "RuntimeError: the verifier " in done.stderr


def test_the_one_file_is_the_same_every_time(tmp_path, archive):
    """Anybody can build it from the source and compare the bytes."""
    build_verifier.build(tmp_path / "again.pyz")

    assert (tmp_path / "again.pyz").read_bytes() == archive.read_bytes()


def test_the_source_has_no_syntax_that_is_newer(archive):
    """Every file compiles as Python 3.9."""
    import ast

    for one in sorted(verifier_file.SOURCE.glob("*.py")):
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


def test_a_file_may_have_several_keys(tmp_path, capsys, log):
    """A policy with the new key and the old one is read; one without a key, or with more than the limit, is refused."""
    export, other = write(tmp_path / "e", log.bodies), Signer(log.origin, b"\1").vkey
    policy = tmp_path / "keys.txt"
    statuses = []
    for keys in ([other, log.vkey], [other], [], [log.vkey] * (KEYS_MAX + 1)):
        policy.write_text("".join([*(f"log {key}\n" for key in keys), "quorum none\n"]))
        statuses.append(main([export, "--key", str(policy)], now_s=2**31))

    assert statuses == [0, 3, 2, 2]
    assert "the file must hold 1 to 64 keys" in capsys.readouterr().err


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
