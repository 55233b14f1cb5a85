"""Everything that a live demo starts, in order, and stops in the opposite order, whatever happens.

From the environment a demo takes
only the user's folders and the login to a cluster.
"""

from __future__ import annotations

import math
import os
import secrets
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from engines.bundle.channels import CANDIDATE
from pipeline import child_process
from pipeline.broker import connect
from pipeline.broker.contract import Broker
from pipeline.broker.topics import apply_topics, topic_settings
from pipeline.config.reading import load
from pipeline.config.settings import Settings
from pipeline.config.topics import TopicsSettings
from pipeline.demo.recordings import Recording
from pipeline.demo.shadow import own_store
from pipeline.errors import ActionwireError
from pipeline.local.broker_node import BrokerNode
from pipeline.local.broker_node.jars import pinned
from pipeline.local.ports import free_port
from pipeline.local.rtsp import Login, Mount, RtspServer, load_media
from pipeline.one_machine.processes import command, fetch, last_lines
from pipeline.one_machine.signals import ignore_signals
from pipeline.worker.shadow.settings import shadow_settings

_PREFIX = "ACTIONWIRE_"


def forget_settings(environment: MutableMapping[str, str], *, kafka: bool) -> None:
    """Remove the variables that hold settings of a deployment, for this process and all that it starts.

    They win over a settings file, so a demo would write to the deployment's topics, change its labels or measure with
    its thresholds. kafka: keep what a requested cluster needs (login, encryption), but not the name of another one.
    """
    for name in [name for name in environment if _is_setting(name.upper(), kafka)]:
        del environment[name]


def _is_setting(name: str, kafka: bool) -> bool:
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
    node: BrokerNode | None
    """The broker that the demo started; None where it uses a cluster of the user."""
    mounts: Mapping[str, Mount]
    processes: Mapping[str, subprocess.Popen[bytes]]
    folder: Path
    document: dict[str, Any]
    shadow_port: int | None = None
    """Where a shadow worker is asked for its metrics; None without one."""

    @property
    def groups(self) -> tuple[str, ...]:
        """Consumer groups that read the frames."""
        shadow = (shadow_settings(self.settings).worker.group,) if self.shadow_port else ()
        return self.settings.worker.group, *shadow

    @property
    def broker_name(self) -> str:
        """The broker, for the report."""
        return f"Apache Kafka {pinned().version} (local)" if self.node else self.settings.kafka.bootstrap

    @property
    def file(self) -> Path:
        """The settings file that ingest and worker read."""
        return self.folder / "actionwire.yaml"

    def metrics(self, name: str) -> str:
        """The /metrics page of the worker, the shadow worker or ingest, in the text format of Prometheus."""
        return fetch(f"http://127.0.0.1:{self.port(name)}/metrics") or ""

    def port(self, name: str) -> int | None:
        """Where the worker, the shadow worker or ingest is asked."""
        http = self.settings.http
        return {"worker": http.worker_port, "shadow": self.shadow_port, "ingest": http.ingest_port}[name]

    def remove_cameras(self) -> None:
        """Remove the cameras from the settings file, as an operator would: ingest notices, and ends every one."""
        write_settings(self.file, {**self.document, "cameras": {}})

    def check_alive(self) -> None:
        """Raise ActionwireError, with the last lines of its log, when a process of the demo has ended."""
        if self.node and not self.node.running:
            raise ActionwireError(f"the broker ended during the demo:\n{last_lines(self.node.log_file)}")
        for name, process in self.processes.items():
            if process.poll() is not None:
                tail = last_lines(self.folder / f"{name}.log")
                raise ActionwireError(f"{name} ended with exit code {process.returncode} during the demo:\n{tail}")


@contextmanager
def set_up(
    recording: Recording,
    labels: tuple[str, ...],
    bootstrap: str | None,
    bundle: str,
    say: Callable[[str], None],
    shadow: str | None = None,
) -> Iterator[Stage]:
    """Start broker, RTSP server, worker and ingest; the cameras play from the moment ingest opens them.

    shadow: a candidate that a shadow worker runs beside.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="actionwire-demo-")))
        if shadow is not None:
            bundle = stack.enter_context(own_store(folder, bundle, shadow))
        node: BrokerNode | None = None
        if bootstrap is None:
            say("starting Apache Kafka ...")
            node = stack.enter_context(BrokerNode(folder / "broker"))
            bootstrap = node.bootstrap
        server = stack.enter_context(RtspServer())
        mounts = {
            camera: server.add(camera, load_media(file), passes=1, login=Login(_USER, secrets.token_urlsafe(12)))
            for camera, file in recording.files.items()
        }
        urls = {camera: server.url(camera) for camera in mounts}
        document = _document(urls, labels, bootstrap, bundle, float(recording.truth["seconds"]))
        if shadow is not None:
            document["worker"]["shadow"] = CANDIDATE
        write_settings(folder / "actionwire.yaml", document)
        settings = load(folder / "actionwire.yaml")
        broker = connect(settings.kafka)
        stack.callback(broker.close)
        if node is None:
            stack.callback(_delete_topics, broker, settings, say)
        apply_topics(broker, settings)
        processes: dict[str, subprocess.Popen[bytes]] = {}
        port = None if shadow is None else free_port()
        stage = Stage(settings, broker, node, mounts, processes, folder, document, port)
        stack.callback(_end, processes)
        try:
            say("starting the worker ...")
            processes["worker"] = _start("worker", folder)
            _until_ready(stage, "worker")
            if stage.shadow_port is not None:
                say("starting the shadow ...")
                processes["shadow"] = _start_shadow(folder, stage.shadow_port)
                _until_ready(stage, "shadow")
            say("starting ingest ...")
            processes["ingest"] = _start("ingest", folder)
            yield stage
        finally:
            ignore_signals()  # a second Ctrl-C must not interrupt the clean-up


def write_settings(path: Path, document: Mapping[str, Any]) -> None:
    """Write a settings file in one step, so that nobody reads half of it. Only this user may read it."""
    making = path.with_suffix(".new")
    making.touch(mode=0o600)
    making.write_text(yaml.safe_dump(dict(document), sort_keys=False))
    making.replace(path)


def _document(
    urls: Mapping[str, str], labels: tuple[str, ...], bootstrap: str, bundle: str, seconds: float
) -> dict[str, Any]:
    namespace = f"demo-{secrets.token_hex(4)}"
    # All frames must still be there for the replay at the end.
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
    with (folder / f"{name}.log").open("wb") as log:
        return child_process.start(command(name, "--config", str(folder / "actionwire.yaml")), output=log)


def _start_shadow(folder: Path, port: int) -> subprocess.Popen[bytes]:
    with (folder / "shadow.log").open("wb") as log:
        return child_process.start(
            command("worker", "--shadow", "--config", str(folder / "actionwire.yaml")),
            output=log,
            environment={**os.environ, "ACTIONWIRE_HTTP__WORKER_PORT": str(port)},
        )


def _until_ready(stage: Stage, name: str) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    url = f"http://127.0.0.1:{stage.port(name)}/ready"
    while fetch(url) is None:
        stage.check_alive()
        if time.monotonic() > deadline:
            tail = last_lines(stage.folder / f"{name}.log")
            raise ActionwireError(f"the {name} was not ready within {_READY_SECONDS:.0f} s; its log ends with:\n{tail}")
        time.sleep(0.1)


def _delete_topics(broker: Broker, settings: Settings, say: Callable[[str], None]) -> None:
    """Leave nothing behind on the user's cluster."""
    used = (settings, shadow_settings(settings)) if settings.worker.shadow else (settings,)
    names = list(dict.fromkeys(topic.name for one in used for topic in topic_settings(one)))
    try:
        broker.delete_topics(names, _DELETE_SECONDS)
    except ActionwireError as error:
        say(f"these topics stay behind, delete them: {', '.join(names)} ({error})")


def _end(processes: Mapping[str, subprocess.Popen[bytes]]) -> None:
    """Ask every process to stop, then kill those that do not. Last started, first stopped: ingest before worker."""
    for process in reversed(list(processes.values())):
        process.terminate()
    for process in reversed(list(processes.values())):
        try:
            process.wait(timeout=10.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
