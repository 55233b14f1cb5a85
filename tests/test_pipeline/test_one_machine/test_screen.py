"""What a person sees while everything runs, with and without a terminal."""

from __future__ import annotations

import io
from collections import deque
from dataclasses import replace

from rich.console import Console

from pipeline.one_machine.follow import Arrival, Received
from pipeline.one_machine.screen import Screen
from pipeline.records.cameras import CameraStatus
from pipeline.testing import sample_event

DOOR = CameraStatus("door", "online", 1, 1, 12.5, 320, 240, "h264", "rtcp", 0.0, 0, "host", None, None)
STARTED = Arrival(sample_event("started", camera="door"), b"", 0.2)
UPDATED = Arrival(sample_event("updated", camera="door", sequence=1), b"", 0.2)
ENDED = Arrival(
    sample_event("ended", camera="door", sequence=2, reason="score", end_ns=STARTED.event.time_ns, end_tick=9), b"", 0.2
)


def plain(received: Received, *, cameras: bool = True) -> tuple[Screen, io.StringIO]:
    """A screen without a terminal."""
    output = io.StringIO()
    return Screen(Console(file=output, width=60), received, lambda: "all well", cameras=cameras), output


def test_without_a_terminal_each_event_and_each_change_is_a_line() -> None:
    """Once, unbroken, and nothing for updates; the demo leaves the cameras out."""
    received = Received()
    screen, output = plain(received)
    other, events_only = plain(received, cameras=False)
    received.statuses = {"door": DOOR}
    for arrival in (STARTED, UPDATED):
        received.take(arrival)
    for _ in range(3):
        screen.refresh()
        other.refresh()
    received.statuses = {"door": replace(DOOR, condition="offline", last_error="no answer")}
    received.take(ENDED)
    screen.refresh()
    received.statuses = {}
    screen.refresh()

    words = [" ".join(line.split()[:4]) for line in output.getvalue().splitlines()]
    assert words[0] == "camera door is online:" and words[2] == "camera door is offline:"
    assert "no answer" in output.getvalue() and words[4] == "camera door was removed"
    assert [line.split()[2] for line in output.getvalue().splitlines() if line[0].isdigit()] == ["started", "ended"]
    assert len(events_only.getvalue().splitlines()) == 1


def test_messages_that_are_no_longer_kept_are_not_printed_twice() -> None:
    """A queue that holds two: of five new ones the last two are printed, and then none."""
    received = Received(deque(maxlen=2))
    screen, output = plain(received)
    for number in range(5):
        received.take(Arrival(sample_event("started", id=f"0ad7c9b3-efa0-5a1b-9246-15cfe1a3b67{number}"), b"", 0.1))
    screen.refresh()
    screen.refresh()

    assert len(output.getvalue().splitlines()) == 2
    assert (received.started, received.messages) == (5, 5)


def test_an_event_is_open_until_it_ends() -> None:
    """The table shows it at its camera meanwhile; a camera that is away shows why."""
    received = Received()
    received.statuses = {
        "door": DOOR, "gate": replace(DOOR, camera="gate", condition="offline", last_error="no answer")
    }  # fmt: skip
    received.take(STARTED)
    output = io.StringIO()
    console = Console(file=output, width=100, force_terminal=True, color_system=None)
    with Screen(console, received, lambda: "all well"):
        pass
    assert received.open_events.keys() == {STARTED.event.id}
    received.take(ENDED)
    assert received.open_events == {}

    shown = output.getvalue()
    (door,) = {line for line in shown.splitlines() if "│ door" in line}
    assert STARTED.event.label in door and "all well" in shown
    assert any("│ gate" in line and "no answer" in line for line in shown.splitlines())
