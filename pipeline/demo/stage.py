"""Everything that a live demo starts, in order, and takes down again in the opposite order, whatever happens.

SIGTERM takes everything down in order, as Ctrl-C does; neither counts twice. Of the environment a demo takes where the
user's folders lie, and how to log in to a cluster. No more.
"""

from __future__ import annotations

import math
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import yaml

from pipeline import child_process
from pipeline.broker import connect
from pipeline.broker.contract import Broker
from pipeline.broker.topics import apply_topics, topic_settings
from pipeline.config.reading import load
from pipeline.config.settings import Settings
from pipeline.config.topics import TopicsSettings
from pipeline.demo.recordings import Recording
from pipeline.errors import ActionwireError
from pipeline.local.broker_node import BrokerNode
from pipeline.local.ports import free_port
from pipeline.local.rtsp import Login, Mount, RtspServer, load_media

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def orderly() -> Iterator[None]:
    """Within it SIGTERM raises SystemExit, so that whatever was begun is undone. For the main thread only."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    signal.signal(signal.SIGTERM, _leave)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def uninterrupted() -> None:
    """From here on, until `orderly` is left, nothing interrupts the taking down."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


_PREFIX = "ACTIONWIRE_"


def forget_settings(environment: MutableMapping[str, str], *, kafka: bool) -> None:
    """Remove the variables that hold settings of a deployment, for this process and all that it starts.

    They win over a settings file: a demo would write to the deployment's topics, change its labels, or measure with its
    thresholds. kafka: leave how to reach a cluster that was asked for, but not which one.
    """
    for name in [name for name in environment if _decides(name.upper(), kafka)]:
        del environment[name]


def _decides(name: str, kafka: bool) -> bool:
    if not name.startswith(_PREFIX):
        return False
    key = name.removeprefix(_PREFIX)
    section = key.partition("__")[0].lower()
    if section == "kafka" and kafka:
        return key in ("KAFKA", "KAFKA__BOOTSTRAP")  # the whole section as JSON names a cluster too
    return key == "CONFIG" or section in Settings.model_fields


PARTITIONS = 8
_USER = "viewer"
_DELETE_SECONDS = 10.0
_READY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Stage:
    """A running demo."""

    settings: Settings
    broker: Broker
    broker_name: str
    mounts: Mapping[str, Mount]
    processes: Mapping[str, subprocess.Popen[bytes]]
    folder: Path
    document: dict[str, Any]

    @property
    def file(self) -> Path:
        """The settings file that ingest and worker read."""
        return self.folder / "actionwire.yaml"

    def metrics(self, name: str) -> str:
        """What /metrics of the worker or of ingest says now, in the text format of Prometheus."""
        port = self.settings.http.worker_port if name == "worker" else self.settings.http.ingest_port
        return fetch(f"http://127.0.0.1:{port}/metrics") or ""

    def remove_cameras(self) -> None:
        """Edit the settings file as an operator would: ingest notices, and ends every camera."""
        write_settings(self.file, {**self.document, "cameras": {}})

    def check_alive(self) -> None:
        """Raise ActionwireError with the last lines of its log when a process has ended."""
        for name, process in self.processes.items():
            if process.poll() is not None:
                tail = "\n".join((self.folder / f"{name}.log").read_text(errors="replace").splitlines()[-15:])
                raise ActionwireError(f"{name} ended with exit code {process.returncode} during the demo:\n{tail}")


@contextmanager
def set_up(
    recording: Recording, labels: tuple[str, ...], bootstrap: str | None, bundle: str, say: Callable[[str], None]
) -> Iterator[Stage]:
    """Start broker, RTSP server, worker and ingest; the cameras play from the moment ingest opens them."""
    with ExitStack() as stack:
        owned = bootstrap is None
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="actionwire-demo-")))
        if bootstrap is None:
            say("starting Apache Kafka ...")
            bootstrap = stack.enter_context(BrokerNode(folder / "broker")).bootstrap
            broker_name = "Apache Kafka 4.1.2 (local)"
        else:
            broker_name = bootstrap
        server = stack.enter_context(RtspServer())
        mounts = {
            camera: server.add(camera, load_media(file), passes=1, login=Login(_USER, secrets.token_urlsafe(12)))
            for camera, file in recording.files.items()
        }
        urls = {camera: server.url(camera) for camera in mounts}
        document = _document(urls, labels, bootstrap, bundle, float(recording.truth["seconds"]))
        write_settings(folder / "actionwire.yaml", document)
        settings = load(folder / "actionwire.yaml")
        broker = connect(settings.kafka)
        stack.callback(broker.close)
        if not owned:
            stack.callback(_delete_topics, broker, settings, say)
        apply_topics(broker, settings)
        processes: dict[str, subprocess.Popen[bytes]] = {}
        stage = Stage(settings, broker, broker_name, mounts, processes, folder, document)
        stack.callback(_end, processes)
        try:
            say("starting the worker ...")
            processes["worker"] = _start("worker", folder)
            _until_ready(stage)
            say("starting ingest ...")
            processes["ingest"] = _start("ingest", folder)
            yield stage
        finally:
            uninterrupted()  # a second Ctrl-C must not interrupt the taking down


def write_settings(path: Path, document: Mapping[str, Any]) -> None:
    """Write a settings file at once, so that nobody reads half of it; only this user may read it."""
    making = path.with_suffix(".new")
    making.touch(mode=0o600)
    making.write_text(yaml.safe_dump(dict(document), sort_keys=False))
    making.replace(path)


def fetch(url: str) -> str | None:
    """Body of a page of ours, or None when it does not answer with 200."""
    try:
        with urllib.request.urlopen(url, timeout=2.0) as answer:
            return str(answer.read().decode())
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return None


def _document(
    urls: Mapping[str, str], labels: tuple[str, ...], bootstrap: str, bundle: str, seconds: float
) -> dict[str, Any]:
    namespace = f"demo-{secrets.token_hex(4)}"
    # All frames must still be there when they are replayed at the end.
    kept = TopicsSettings().frames_retention_minutes + math.ceil(seconds / 60)
    return {
        "kafka": {"bootstrap": bootstrap},
        "topics": {"namespace": namespace, "partitions": PARTITIONS, "frames_retention_minutes": kept},
        "cameras": {camera: {"url": url} for camera, url in urls.items()},
        "labels": list(labels),
        "ingest": {"status_seconds": 1.0},
        "worker": {"bundle": bundle, "group": namespace},
        "http": {"worker_port": free_port(), "ingest_port": free_port()},
    }


def _start(name: str, folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pipeline.cli", name, "--config", str(folder / "actionwire.yaml")]
    with (folder / f"{name}.log").open("wb") as log:
        return child_process.start(command, output=log)


def _until_ready(stage: Stage) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    url = f"http://127.0.0.1:{stage.settings.http.worker_port}/ready"
    while fetch(url) is None:
        stage.check_alive()
        if time.monotonic() > deadline:
            log = (stage.folder / "worker.log").read_text(errors="replace")[-2000:]
            raise ActionwireError(f"the worker was not ready within {_READY_SECONDS:.0f} s; its log ends with:\n{log}")
        time.sleep(0.1)


def _delete_topics(broker: Broker, settings: Settings, say: Callable[[str], None]) -> None:
    """Leave nothing behind on a cluster that belongs to somebody else."""
    names = [topic.name for topic in topic_settings(settings)]
    try:
        broker.delete_topics(names, _DELETE_SECONDS)
    except ActionwireError as error:
        say(f"these topics stay behind, delete them: {', '.join(names)} ({error})")


def _end(processes: Mapping[str, subprocess.Popen[bytes]]) -> None:
    """Ask every process to stop, then insist. The order of starting backwards: ingest first."""
    for process in reversed(list(processes.values())):
        process.terminate()
    for process in reversed(list(processes.values())):
        try:
            process.wait(timeout=10.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
