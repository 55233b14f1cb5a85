"""What `actionwire up` shows while everything runs: state of the processes, lag, labels, cameras, events."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from rich.console import Console

from pipeline.analysis.label_set import in_force
from pipeline.broker.control_topic import ControlReader
from pipeline.errors import ActionwireError
from pipeline.one_machine.follow import Subscriber
from pipeline.one_machine.probe import figures, not_ready
from pipeline.one_machine.run import Machine
from pipeline.one_machine.screen import Screen

_KEPT = 500
"""Messages that are kept for the screen."""
_LOOK_SECONDS = 1.0
_REFRESH_SECONDS = 0.2
_SERIES = ("actionwire_lag_seconds", "actionwire_labels_refused")


@dataclass(slots=True)
class Condition:
    """What was found at the last look."""

    worker: str | None = "starting"
    """What it is missing; None when it is ready. The same of `ingest`."""
    ingest: str | None = "starting"
    lag: float | None = None
    """Seconds; None while nobody says."""
    labels: tuple[str, ...] = ()
    """Texts of the labels in force."""
    refused: int = 0
    """How many of them cannot be watched for."""


def show(machine: Machine, console: Console) -> None:
    """Show everything until a signal ends this. Raises ActionwireError when a part cannot go on."""
    with ExitStack() as stack:
        subscriber = Subscriber(machine.broker, machine.settings.topics, keep=_KEPT, live=True)
        stack.callback(subscriber.close)
        condition = stack.enter_context(_followed(machine))
        received = subscriber.received

        def headline() -> str:
            return "\n".join(lines(condition, machine, received.started, received.failure))

        screen = stack.enter_context(Screen(console, received, headline, cameras=True))
        said: tuple[str, ...] = ()
        while True:
            machine.check()
            screen.refresh()
            if not console.is_terminal and (now := changes(condition)) != said:
                for line in now:
                    if line not in said:
                        console.print(line, soft_wrap=True)
                said = now
            time.sleep(_REFRESH_SECONDS)


def lines(condition: Condition, machine: Machine, events: int, failure: str | None) -> Iterator[str]:
    """What stands above the table of cameras."""
    lag = "-" if condition.lag is None else f"{condition.lag:.1f} s"
    yield f"worker {condition.worker or 'ready'}   ingest {condition.ingest or 'ready'}   lag {lag}   {events} events"
    yield _labels(condition)
    yield f"broker {machine.settings.kafka.bootstrap}   logs {machine.logs}   Ctrl-C ends everything"
    if failure:
        yield failure


def changes(condition: Condition) -> tuple[str, ...]:
    """The lines that are printed where there is no terminal, each once when it becomes true."""
    states = (("worker", condition.worker), ("ingest", condition.ingest))
    return (
        *(f"{name}: {state or 'ready'}" for name, state in states if state != "starting"),
        *((_labels(condition),) if condition.worker is None else ()),
    )


def _labels(condition: Condition) -> str:
    refused = f" ({condition.refused} not watched for: `actionwire labels list`)" if condition.refused else ""
    return f"labels: {', '.join(condition.labels) or 'none'}{refused}"


@contextmanager
def _followed(machine: Machine) -> Iterator[Condition]:
    """Look again every second, on a thread of its own: an answer that is late must not hold the screen up."""
    condition, stop = Condition(), threading.Event()
    thread = threading.Thread(target=_follow, args=(machine, condition, stop), name="condition", daemon=True)
    thread.start()
    try:
        yield condition
    finally:
        stop.set()
        thread.join()


def _follow(machine: Machine, condition: Condition, stop: threading.Event) -> None:
    http = machine.settings.http
    begun = {"worker": False, "ingest": False}
    control = machine.settings.topics.name("control")

    def state(name: str, port: int | None) -> str | None:
        if not port:
            return None  # nobody can ask it; its supervisor sees when it ends
        missing = not_ready(http.host, port, name)
        begun[name] |= missing is None
        return missing if missing is None or begun[name] else "starting"

    with ExitStack() as stack:
        reader: ControlReader | None = None
        while not stop.wait(_LOOK_SECONDS):
            condition.worker, condition.ingest = state("worker", http.worker_port), state("ingest", http.ingest_port)
            found = figures(http.host, http.worker_port, _SERIES)
            condition.lag = found.get("actionwire_lag_seconds")
            condition.refused = int(found.get("actionwire_labels_refused", 0))
            try:
                reader = reader or stack.enter_context(ControlReader(machine.broker, control))
                reader.poll(0.1)
                condition.labels = tuple(label.text for label in in_force(reader.sets).labels)
            except ActionwireError:  # the broker is away, which worker and ingest say of themselves
                continue
