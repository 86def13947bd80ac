"""The event log as tests look at it."""

from aegis_stream.ports import LogEntry


async def entries(log, organization_no: int, after: int, last: int, limit: int) -> list[LogEntry]:
    """Return events with after < sequence <= last in log order, at most `limit`."""
    labels = await log.labels(organization_no, after, last, limit)
    return await log.entries_at(organization_no, [one.sequence for one in labels])
