"""Another SQLite at the database of a running service: shells, scripts and backups of the operator's, and then a kill."""

import shutil
import subprocess
import sys
import time

from faults.frame import Fault, Run
from faults.served import Served, served
from faults.site import REPEATS_MAX
from support.files import file_faults
from support.processes import kill

_OPEN = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); "
PROGRAMS = {
    "reads and closes": _OPEN + "db.execute('SELECT count(*) FROM events').fetchone(); db.close()",
    "opens twice and closes once": _OPEN
    + "two = sqlite3.connect(sys.argv[1]); db.execute('SELECT 1 FROM events').fetchone(); "
    "two.execute('SELECT 1 FROM events').fetchone(); two.close()",
    "copies it": _OPEN + "db.backup(sqlite3.connect(sys.argv[2]))",
    "copies the log into it": _OPEN + "db.execute('PRAGMA wal_checkpoint(TRUNCATE)').fetchall(); db.close()",
    "holds a snapshot": _OPEN
    + "db.execute('BEGIN'); db.execute('SELECT count(*) FROM events').fetchone(); import time; time.sleep(1)",
    "tries to leave WAL": _OPEN + "db.execute('PRAGMA busy_timeout = 50'); "
    "db.execute('PRAGMA journal_mode = DELETE').fetchall(); db.close()",
}


def visit(run: Run) -> None:
    """Let programs visit the database under load; then kill everything, start again, and judge."""
    with served(run) as one:
        one.begin(pause_s=0.01, batch=(1, 10))
        names = run.random.sample(sorted(PROGRAMS), len(PROGRAMS))
        for number in range(run.rounds):
            _visit(one, names[number % len(names)], number)
            one.recover()
            run.add(runs=1)
        if shutil.which("sqlite3"):
            command = ["sqlite3", str(one.group.database), f".backup {run.folder / 'shell.db'}"]
            subprocess.run(command, check=True, capture_output=True, timeout=60)
            run.add(runs=1)
            one.recover()
        faults = file_faults(list(one.processes()), one.group.database)
        run.expect(not faults, f"files: {faults}")
        run.expect(one.processes() == one.pids, "a process was started anew")
        _kill_and_start(one)
        one.end(repeats_max=REPEATS_MAX)


def _visit(one: Served, name: str, number: int) -> None:
    copy = one.run.folder / f"copy-{number}.db"
    command = [sys.executable, "-S", "-c", PROGRAMS[name], str(one.group.database), str(copy)]
    subprocess.run(
        command, check=False, capture_output=True, timeout=60
    )  # what it may do is SQLite's decision


def _kill_and_start(one: Served) -> None:
    """End all processes without warning, and start again at once."""
    one.load.pause()
    killed_s = time.monotonic()
    for pid in one.processes():
        kill(pid)
    one.group.running.process.wait()
    one.group.start()
    one.run.recovered(time.monotonic() - killed_s)
    one.load.resume()
    one.wait_for_acks(20)


FAULTS = (
    Fault(
        "foreign-sqlite",
        "another SQLite that opens, copies, checkpoints and closes the database beside the service takes no lock and no file from it: "
        "after a kill of everything, every acknowledged event is there",
        visit,
        rounds=len(PROGRAMS),
        seconds=300,
    ),
)
