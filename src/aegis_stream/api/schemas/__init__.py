"""JSON shapes of requests and answers, by topic; unknown fields are rejected everywhere.

base.py, destinations.py, deliveries.py, events.py, organizations.py
specs.py   requests about destinations → domain values
"""
