"""Broker, topics, worker and ingest of one settings file, started in order and ended in the opposite order.

broker     the one that the settings name; else the one at the default address; else one that is started here
topics     created where they are missing
worker     \\  each a child process with a log of its own, started again when it ends by itself;
ingest     /   both end when one of them cannot go on
"""

from __future__ import annotations

import os
import secrets
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from engines.folders import state_directory
from pipeline import child_process, supervisor
from pipeline.broker import connect
from pipeline.broker.contract import Broker
from pipeline.broker.topics import apply_topics
from pipeline.config.kafka import IN_PROCESS, KafkaSettings
from pipeline.config.settings import Settings
from pipeline.errors import ActionwireError, ConfigurationError
from pipeline.health import accepts_connections
from pipeline.local.broker_node import BrokerNode, running_on
from pipeline.one_machine.processes import command, last_error, rotated, with_options
from pipeline.one_machine.signals import ignore_signals

BROKER_SECONDS = 10.0

Say = Callable[[str], None]


class Service:
    """One of our commands as a child process, kept running on a thread until it is ended or cannot go on."""

    def __init__(self, name: str, options: Sequence[str], log: Path, cut_off: Callable[[], None] = lambda: None):
        self.name, self.log = name, log
        self.code: int | None = None
        """Exit code once it has ended for good."""
        self._began = log.with_suffix(".began") if "--no-supervise" in options else None  # a worker says when it begins
        self._command, self._cut_off = command(name, *options, *with_options(began=self._began)), cut_off
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"supervise-{name}", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Tell it to stop, and wait until it has: killed where it does not."""
        self._stop.set()
        self._thread.join()

    @property
    def failure(self) -> str | None:
        """Why it ended for good; None while it is kept running."""
        if self._stop.is_set() or self.code is None:
            return None
        return f"the {self.name} ended (exit code {self.code}): {last_error(self.log)}; its log is {self.log}"

    def _run(self) -> None:
        try:
            self.code = supervisor.supervise(
                self._command,
                self._stop,
                start=self._start,
                cut_off=self._cut_off,
                name=self.name,
                began=self._began,
            )
        finally:
            if self._began is not None:
                self._began.unlink(missing_ok=True)  # the folder is for logs

    def _start(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as output:
            return child_process.start(command, output=output)


@dataclass(frozen=True, slots=True)
class Machine:
    """Everything that runs."""

    settings: Settings
    broker: Broker
    node: BrokerNode | None
    """The broker that was started here; None where another one is used."""
    services: tuple[Service, ...]
    logs: Path

    def check(self) -> None:
        """Raises ConfigurationError where a person must change something, ActionwireError when a part failed."""
        if self.node and not self.node.running:
            raise ActionwireError(f"the broker ended by itself; its log is {self.node.log_file}")
        for service in self.services:
            if failure := service.failure:
                raise (ConfigurationError if service.code == 2 else ActionwireError)(failure)


@contextmanager
def running(
    config: Path | None,
    bootstrap: str | None,
    read: Callable[[str | None], Settings],
    logs: Path,
    say: Say,
    *,
    port: int | None = None,
) -> Iterator[Machine]:
    """Start everything that is missing, and end what was started here, whatever happens.

    config: the settings file, as the commands are given it. bootstrap: the broker that a person named, None for that
    of the settings. read: gives the settings with this broker. logs: folder for the logs. port: where a broker is
    looked for, and started, when none is named; None for the port of the default address.
    """
    with ExitStack() as stack:
        try:
            settings = read(bootstrap)
            _check(settings, say)
            logs.mkdir(parents=True, exist_ok=True, mode=0o700)
            node, address = _broker(stack, settings.kafka, port, logs, say)
            settings = read(address)
            broker = connect(settings.kafka)
            stack.callback(broker.close)
            broker.check(BROKER_SECONDS)
            if created := apply_topics(broker, settings):
                say(f"created {len(created)} topics")
            services: list[Service] = []
            for name, options, cut_off in _commands(settings, config, address):
                services.append(Service(name, options, rotated(logs / f"{name}.log"), cut_off))
                stack.callback(services[-1].end)  # ended in the opposite order: ingest, worker, then the broker
            yield Machine(settings, broker, node, tuple(services), logs)
        finally:
            ignore_signals()  # a second Ctrl-C must not interrupt the clean-up


def _commands(
    settings: Settings, config: Path | None, address: str
) -> Iterator[tuple[str, list[str], Callable[[], None]]]:
    """Name, options, and what is due after it was cut off, of each process in the order of their start."""
    shared = with_options(config=config, bootstrap=address)
    slot = settings.worker.slot or f"up-{os.getpid()}-{secrets.token_hex(3)}"

    def free() -> None:
        with suppress(ActionwireError), closing(connect(settings.kafka)) as broker:
            broker.free(settings.worker.group, slot)

    yield "worker", [*shared, "--no-supervise", "--slot", slot], free
    yield "ingest", [*shared], lambda: None


def _check(settings: Settings, say: Say) -> None:
    if not settings.cameras:
        say("the settings name no camera yet; one is taken up as soon as it stands there")
    if settings.kafka.bootstrap == IN_PROCESS:
        raise ConfigurationError("kafka.bootstrap in-process is a broker inside one process, and these are several")


def _broker(
    stack: ExitStack, kafka: KafkaSettings, port: int | None, logs: Path, say: Say
) -> tuple[BrokerNode | None, str]:
    """The broker to use, and its address: started here where none is named and none answers."""
    default = KafkaSettings()
    if kafka.bootstrap != default.bootstrap or kafka.security_protocol != "PLAINTEXT":
        return None, kafka.bootstrap
    host, _, usual = default.bootstrap.partition(":")
    wanted = port or int(usual)
    if accepts_connections((host, wanted)):
        say(f"using the broker at {host}:{wanted}")
        return None, f"{host}:{wanted}"
    home = state_directory() / "broker"
    if (found := running_on(home)) and found.answers():
        say(f"using the broker at {found.bootstrap}")
        return None, found.bootstrap
    say("starting Apache Kafka; a first start downloads 45 MB ...")
    node = BrokerNode(home, port=wanted, log_file=rotated(logs / "broker.log"))
    stack.enter_context(node)
    return node, node.bootstrap
