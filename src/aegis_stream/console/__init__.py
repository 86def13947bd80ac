"""The console: pages for people, rendered on the server. It calls the use cases that the API calls, and nothing else.

app.py       the pages put together; errors as pages; headers of every answer
rights.py    who may call what: one table
gate.py      session → visit; refuses requests that another site made a browser send
session.py   the sealed cookie that says who is signed in
held.py      a form that arrived after its session had ended
signin.py    sign in, sign out, choose an organization
links.py     sign in by a link that opens the console once
cookies.py   cookies: names, and what browsers do with them
brand.py     the line on top of every page
page.py      what every page has: frame, first sentence, notices
forms.py     what handlers read of a form
headline.py  the first sentence: what is wrong, since when, what it costs, what mends it
words.py     numbers, sizes and times as words
zone.py      the time zone of a page, which its URL names and its links keep
commands.py  the call behind a control, as curl and as `aegis` command
assets.py    style and scripts
overview.py  the overview of an organization
destination.py  what the tabs of a destination share: frame, controls, the test
health.py    its health: what it does now and did over time, what its failures have in common
history.py   what it did over time: the span, shapes for the drawing
strip.py     its last day as a strip
sparkline.py  the last hour of a figure as a line
attempts.py  its attempts, and one of them in full
attempt_filters.py  which attempts a list shows, as its URL says
curl.py      a request to a destination as a command for a shell
deliveries.py  attempts at all destinations
dead_letters.py  its dead letters: causes, rows, redrive, purge, export
replays.py   its replays: which range, what it would cover, how far each is
progress.py  how far jobs and replays are, as bars and as cells
events.py    the events: line, menus, bars, rows, export
event.py     one event: its journey, its JSON, sending it again; the search box
journey.py   a journey as a drawing
event_tree.py  JSON as a tree
event_rows.py  an event as a row, with a mark for each destination
event_chart.py  events over time as bars
wizard.py    a new destination: its kind, its fields, a test, the first event
field_check.py  what is wrong with one field of it, told when the field is left
tested.py    what a test told: its ladder, the request and the answer side by side
testing.py   a test whose stages are shown as they are passed
draft.py     what was typed for it so far, and what is wrong with that
draft_call.py  the same as a call of the API and as a command
fleet.py     the service and all organizations, for the operator
sources.py   where events come from, and the last requests of a key
audit.py     what was done in an organization, by whom
actions.py   one action of the audit trail as a sentence
proof.py     how the log is sealed: how far, by which key, its checkpoint, its mode, the evidence bundle
proof_words.py  the same as a first sentence, and what the modes mean
event_proof.py  whether one event is sealed, and its proof
keys.py      keys: who sends with which, make, rotate, revoke
link_list.py  console links: which there are, revoke one
settings_tab.py  every field of it is changed, after a look at what changes; deletes it
settings_form.py  the fields of that form, and what was typed into them
settings_changes.py  what the form would change: as a patch, and in words
live.py      the stream of what a page shows while somebody looks at it
live_state.py  what that is, as texts by key
live_cells.py  one value that it is told
live_charts.py  what its drawings are told, as cells by key
redraw.py    draws them again, once for all who look, every few seconds at most
news.py      by which numbers a list sees that it has new rows
sample.py    the button that records a sample event
snippets.py  how to send an event, in several languages
templates/   a file a page; `base.html` is the frame, `ui.html` has what pages share
static/      style and scripts, as they are sent
"""
