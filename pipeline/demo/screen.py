"""The terminal during a demo: cameras above, the newest events below. Without a terminal, plain lines of events."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pipeline.demo.follow import Arrival, Received
from pipeline.records.wire import iso

_STYLE = {"started": "bold green", "updated": "dim", "ended": "yellow"}
_FEED = 12


class Screen:
    """Shows what a subscriber has received. Call `refresh` a few times a second."""

    def __init__(self, console: Console, received: Received, headline: Callable[[], str]) -> None:
        self._console = console
        self._received = received
        self._headline = headline
        self._printed = 0
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
        """Draw again, or print the new events."""
        if self._live:
            self._live.update(self._picture())
            return
        for arrival in self._received.arrivals[self._printed :]:
            if arrival.event.phase != "updated":
                self._console.print(_line(arrival), soft_wrap=True)
        self._printed = len(self._received.arrivals)

    def _picture(self) -> RenderableType:
        feed = [arrival for arrival in self._received.arrivals if arrival.event.phase != "updated"][-_FEED:]
        return Group(Text(self._headline(), style="bold"), self._cameras(), *(_line(arrival) for arrival in feed))

    def _cameras(self) -> Table:
        table = Table("camera", "state", "picture", "fps", "clock", "dropped", "now")
        open_events = self._received.open_events.values()
        for name, status in sorted(self._received.statuses.items()):
            table.add_row(
                name,
                Text(status.condition, style="green" if status.condition == "online" else "red"),
                f"{status.codec or '-'} {status.width or 0}x{status.height or 0}",
                "-" if status.fps is None else f"{status.fps:.1f}",
                status.clock or "-",
                str(status.dropped),
                Text(", ".join(sorted(one.label for one in open_events if one.camera == name)), style="bold red"),
            )
        return table


def _line(arrival: Arrival) -> Text:
    event = arrival.event
    words = f"{iso(event.time_ns)[11:]}  {event.camera:<10} {event.phase:<8} {event.label:<28} peak {event.peak:.2f}"
    tail = f"  ({event.reason})" if event.reason else f"  +{arrival.latency * 1000:.0f} ms"
    return Text(words + tail, style=_STYLE[event.phase])
