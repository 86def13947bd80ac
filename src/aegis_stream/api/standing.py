"""Where one `aegis serve` stands among all that share its database: numbers in memory that all its API processes share.

The first process writes them, the others read them: see serving/membership.py.
"""

FIELDS = 3
"""Numbers in this memory."""
FOREVER_US = 1 << 62

_API_PROCESSES, _REPORTS_UNTIL, _DRAINING = range(FIELDS)


class ServiceStanding:
    """A view of that memory.

    Args:
        memory: FIELDS signed numbers of 64 bits; all 0 at first.
        own_processes: API processes of this `aegis serve`.
    """

    __slots__ = ("_memory", "_own_processes")

    def __init__(self, memory: memoryview, own_processes: int) -> None:
        self._memory = memory
        self._own_processes = own_processes

    @property
    def api_processes(self) -> int:
        """How many API processes keep to one limit together, on all machines."""
        return max(int(self._memory[_API_PROCESSES]), self._own_processes)

    @api_processes.setter
    def api_processes(self, count: int) -> None:
        self._memory[_API_PROCESSES] = count

    @property
    def draining(self) -> bool:
        """Whether this `aegis serve` was asked to stop; it may answer for a last while."""
        return bool(self._memory[_DRAINING])

    @property
    def drained(self) -> bool:
        """Whether that last while is over."""
        return int(self._memory[_DRAINING]) > 1

    def begin_drain(self) -> None:
        """Note that this `aegis serve` was asked to stop."""
        self._memory[_DRAINING] = max(1, self._memory[_DRAINING])

    def end_drain(self) -> None:
        """Note that this `aegis serve` answers no more."""
        self._memory[_DRAINING] = 2

    def report_until(self, steady_us: int) -> None:
        """Let `/metrics` of these processes show the sums over the whole store until then, by the machine's steady clock."""
        self._memory[_REPORTS_UNTIL] = steady_us

    def reports(self, steady_us: int) -> bool:
        """Tell whether `/metrics` of these processes shows the sums over the whole store."""
        return int(self._memory[_REPORTS_UNTIL]) > steady_us
