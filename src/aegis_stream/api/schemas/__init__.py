"""JSON shapes of requests and answers, by topic; unknown fields are rejected everywhere.

base.py, destinations.py, dead_letters.py, deliveries.py, testing.py, timeline.py, events.py, organizations.py, console_links.py, fleet.py,
proof.py
specs.py   requests about destinations → domain values
"""
