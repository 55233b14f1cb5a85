"""One Apache Kafka process: format once, start, stop, kill, pause, and restart on the same data and ports."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from engines.folders import cache_directory
from pipeline import child_process
from pipeline.errors import ActionwireError, BrokerTimeout, ConfigurationError, ContractError
from pipeline.health import accepts_connections
from pipeline.local.broker_node import jars, state
from pipeline.local.broker_node.java import Java, prepare, reason
from pipeline.local.broker_node.properties import NodeSecurity, Ports, server_properties

_CLASH = "Address already in use"
_ATTEMPTS = 8
_STOP_SECONDS = 15.0


class BrokerNode:
    """A single-node broker on loopback. It dies with this process, unless it is started detached.

    home: folder for data, properties, log and state; None makes a temporary one that `close` removes.
    port: the clients' port; None finds a free one. overrides: broker settings by their Kafka names.
    log_file: where its output goes; None for `broker.log` in its folder.
    """

    def __init__(
        self,
        home: Path | None = None,
        *,
        port: int | None = None,
        security: NodeSecurity | None = None,
        overrides: Mapping[str, str] | None = None,
        log_file: Path | None = None,
    ) -> None:
        self._temporary = home is None
        self.home = (home or Path(tempfile.mkdtemp(prefix="actionwire-broker-"))).resolve()
        self.security = security
        self._overrides = dict(overrides or {})
        self._wanted_port = port
        self._log_file = log_file
        self._ports: Ports | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """Address for clients. Raises ContractError before the first start."""
        if self._ports is None:
            raise ContractError("a broker has no address before it was started; call start() first")
        return f"127.0.0.1:{self._ports.client}"

    @property
    def log_file(self) -> Path:
        """The output of the broker, over all its starts."""
        return self._log_file or self.home / "broker.log"

    @property
    def running(self) -> bool:
        """True while the process lives, even when it is paused."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Process id. Raises ContractError when it is not running."""
        return self._live().pid

    def start(self, seconds: float = 60.0, *, detached: bool = False) -> str:
        """Start and wait until clients can connect; returns the bootstrap address.

        seconds: limit for the broker itself; a first download comes on top. detached: it outlives this process, and
        `stop_folder` ends it. Raises ConfigurationError when the port is taken, another broker runs on this folder or
        the settings are refused, BrokerTimeout when it does not come up.
        """
        if self.running:
            raise ContractError(f"the broker on {self.home} runs already; stop it first")
        if running := state.read(self.home):
            raise ConfigurationError(
                f"a broker (process {running.pid}) runs on {self.home} already; use it at {running.bootstrap}, stop it "
                "with `actionwire broker stop`, or give this one another folder with --data"
            )
        java = prepare(cache_directory())
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        deadline = time.monotonic() + seconds
        again = self._ports is not None
        for attempt in range(_ATTEMPTS):
            chosen = self._ports if again and self._ports else Ports.choose(self._wanted_port)
            if self._launch(java, chosen, deadline, detached):
                return self.bootstrap
            # On a restart the clients know the ports, so only waiting helps. Otherwise others are drawn.
            time.sleep(0.5 if again else 0.05 * attempt)
        raise ConfigurationError(f"no free ports for the broker after {_ATTEMPTS} attempts; see {self.log_file}")

    def stop(self, seconds: float = _STOP_SECONDS) -> None:
        """SIGTERM, then SIGKILL when it has not ended in time. Harmless when it does not run."""
        if self._process is not None:
            _end(self._process, seconds)
            self._process = None
        state.forget(self.home)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        process = self._live()
        process.kill()
        process.wait()
        self.stop()

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers, as on a machine that hangs."""
        self._live().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._live().send_signal(signal.SIGCONT)

    def restart(self, seconds: float = 60.0) -> None:
        """Stop it if it runs, and start it again on the same data and ports."""
        self.stop()
        self.start(seconds)

    def close(self) -> None:
        """Stop, and remove a temporary folder."""
        self.stop()
        if self._temporary:
            shutil.rmtree(self.home, ignore_errors=True)

    def __enter__(self) -> BrokerNode:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _live(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            raise ContractError(f"the broker on {self.home} does not run; call start() first")
        return self._process

    def _launch(self, java: Java, chosen: Ports, deadline: float, detached: bool) -> bool:
        """One attempt to start. False when another process has taken one of the ports meanwhile."""
        properties = self._write_properties(chosen)
        if not (self.home / "data" / "meta.properties").exists():
            java.format(properties, self.security.users if self.security else {})
        command = java.command("kafka.Kafka", [str(properties)])
        begin = self.log_file.stat().st_size if self.log_file.exists() else 0
        with self.log_file.open("ab") as output:
            if detached:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
                )
            else:
                self._process = child_process.start(command, output=output)
        try:
            if not self._wait_until_open(self._process, chosen.client, begin, deadline):
                return False
        except BaseException:
            self.stop(0)
            raise
        self._ports = chosen
        protocol = self.security.protocol if self.security else "PLAINTEXT"
        written = state.NodeState(
            self._process.pid, jars.pinned().version, chosen.client, protocol, str(self.log_file), time.time()
        )
        state.write(self.home, written)
        if detached:
            self._process.returncode = 0  # not ours to wait for; avoids the warning of Popen
            self._process = None
        return True

    def _write_properties(self, chosen: Ports) -> Path:
        """Write properties and key store. Both hold secrets, so only their owner can read them."""
        keystore = self.home / "keystore.pem"
        if self.security and self.security.certificate and self.security.key:
            _write_secret(keystore, self.security.key.read_text() + self.security.certificate.read_text())
        properties = self.home / "server.properties"
        text = server_properties(chosen, self.home / "data", keystore, self.security, self._overrides)
        _write_secret(properties, text)
        return properties

    def _wait_until_open(self, process: subprocess.Popen[bytes], port: int, begin: int, deadline: float) -> bool:
        while not accepts_connections(("127.0.0.1", port)):
            if process.poll() is not None:
                with self.log_file.open("rb") as handle:
                    handle.seek(begin)
                    printed = handle.read().decode(errors="replace")
                if _CLASH in printed:
                    return False
                raise ConfigurationError(f"the broker ended at once: {reason(printed)}; see {self.log_file}")
            if time.monotonic() > deadline:
                raise BrokerTimeout(f"the broker did not listen on port {port} in time; see {self.log_file}")
            time.sleep(0.02)
        return process.poll() is None  # otherwise another process listens, on a port that this broker failed to get


def stop_folder(home: Path) -> state.NodeState | None:
    """Stop the broker that runs on a folder, whoever started it. Returns its state; None when none was running."""
    home = home.resolve()
    found = state.read(home)
    if found is None:
        state.forget(home)
        return None
    for number, limit in ((signal.SIGTERM, _STOP_SECONDS), (signal.SIGKILL, 5.0)):
        with suppress(ProcessLookupError):
            os.kill(found.pid, number)
        deadline = time.monotonic() + limit
        while state.is_running(found.pid, home) and time.monotonic() < deadline:
            with suppress(ChildProcessError):
                os.waitpid(found.pid, os.WNOHANG)
            time.sleep(0.05)
        if not state.is_running(found.pid, home):
            state.forget(home)
            return found
    raise ActionwireError(f"process {found.pid} of the broker on {home} does not end, even by SIGKILL")


def _end(process: subprocess.Popen[bytes], seconds: float) -> None:
    if process.poll() is None and seconds > 0:
        process.send_signal(signal.SIGCONT)  # a paused process would not see SIGTERM
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
    process.kill()
    process.wait()


def _write_secret(path: Path, text: str) -> None:
    path.touch(0o600)
    path.chmod(0o600)
    path.write_text(text)
