"""Makes `python -m aegis_stream` the command."""

import sys


def end_with_parent() -> None:
    """Have the kernel kill this process when its parent ends, whatever either of them is doing.

    A further API process holds the port from its first moment. One that is stopped, busy or still importing does not see the end
    of its input for a while, and a new service could not listen meanwhile. What it has acknowledged is stored; its clients
    repeat the rest. Source: prctl(2), PR_SET_PDEATHSIG.
    """
    import contextlib  # noqa: PLC0415 - before anything that takes time
    import ctypes  # noqa: PLC0415
    import signal  # noqa: PLC0415

    pr_set_pdeathsig = 1
    with contextlib.suppress(OSError, AttributeError):  # not Linux: the end of the input has to do
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL, 0, 0, 0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["api"]:
        end_with_parent()
    from aegis_stream.cli.main import main

    main()
