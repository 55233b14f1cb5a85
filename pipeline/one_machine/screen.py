"""The terminal while everything runs: cameras above, the newest events below. Without a terminal, plain lines."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pipeline.one_machine.follow import Arrival, Received
from pipeline.records.cameras import CameraStatus
from pipeline.records.wire import iso

_STYLE = {"started": "bold green", "updated": "dim", "ended": "yellow"}
_FEED = 12


class Screen:
    """Shows what a subscriber has received. Call `refresh` a few times a second.

    headline: the lines above the cameras. cameras: without a terminal, a line for each camera whose condition changes.
    """

    def __init__(
        self, console: Console, received: Received, headline: Callable[[], str], *, cameras: bool = False
    ) -> None:
        self._console = console
        self._received = received
        self._headline = headline
        self._cameras_too = cameras
        self._printed = 0
        self._conditions: dict[str, str] = {}
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None

    def __enter__(self) -> Screen:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.refresh()
        if self._live:
            self._live.stop()

    def refresh(self) -> None:
        """Draw again, or print what is new."""
        if self._live:
            self._live.update(self._picture())
            return
        if self._cameras_too:
            self._print_conditions()
        kept, seen = list(self._received.arrivals), self._received.messages
        for arrival in kept[max(0, len(kept) - (seen - self._printed)) :] if seen > self._printed else ():
            if arrival.event.phase != "updated":
                self._console.print(_line(arrival), soft_wrap=True)
        self._printed = seen

    def _print_conditions(self) -> None:
        statuses = self._received.statuses
        for name, status in sorted(statuses.items()):
            if self._conditions.get(name) != status.condition:
                self._console.print(_condition_line(status), soft_wrap=True)
        for name in sorted(self._conditions.keys() - statuses.keys()):
            self._console.print(f"camera {name} was removed", soft_wrap=True)
        self._conditions = {name: status.condition for name, status in statuses.items()}

    def _picture(self) -> RenderableType:
        newest = (one for one in reversed(list(self._received.arrivals)) if one.event.phase != "updated")
        feed = [*islice(newest, _FEED)][::-1]
        return Group(Text(self._headline(), style="bold"), self._cameras(), *(_line(arrival) for arrival in feed))

    def _cameras(self) -> Table:
        table = Table("camera", "state", "picture", "fps", "clock", "dropped", "now")
        open_events = list(self._received.open_events.values())
        for name, status in sorted(self._received.statuses.items()):
            labels = ", ".join(sorted(one.label for one in open_events if one.camera == name))
            online = status.condition == "online"
            table.add_row(
                name,
                Text(status.condition, style="green" if online else "red"),
                f"{status.codec or '-'} {status.width or 0}x{status.height or 0}",
                "-" if status.fps is None else f"{status.fps:.1f}",
                status.clock or "-",
                str(status.dropped),
                Text(labels, style="bold red") if labels or online else Text(status.last_error or "", style="red"),
            )
        return table


def _condition_line(status: CameraStatus) -> str:
    online = status.condition == "online"
    picture = f"{status.codec} {status.width}x{status.height}" if online and status.width else None
    said = "; ".join(part for part in (picture, None if online else status.last_error) if part)
    return f"camera {status.camera} is {status.condition}" + (f": {said}" if said else "")


def _line(arrival: Arrival) -> Text:
    event = arrival.event
    words = f"{iso(event.time_ns)[11:]}  {event.camera:<10} {event.phase:<8} {event.label:<28} peak {event.peak:.2f}"
    tail = f"  ({event.reason})" if event.reason else f"  +{arrival.latency * 1000:.0f} ms"
    return Text(words + tail, style=_STYLE[event.phase])
