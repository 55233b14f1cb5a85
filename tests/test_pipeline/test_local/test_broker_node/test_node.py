"""The life of a broker: start, stop, kill, restart, side by side."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.broker import connect
from pipeline.broker.contract import TopicSettings
from pipeline.commands.broker import broker as commands
from pipeline.config.kafka import KafkaSettings
from pipeline.errors import ConfigurationError, ContractError
from pipeline.local.broker_node import TEST_OVERRIDES, BrokerNode, running_on
from pipeline.records.wire import Message, Partition

DEADLINE = 60.0

pytestmark = pytest.mark.kafka


def test_survives_being_killed(wait_until_gone: Callable[[int], None], tmp_path: Path, broker_node: BrokerNode) -> None:
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
    wait_until_gone(last)
    assert node.log_file.exists()


def test_dies_with_its_parent(wait_until_gone: Callable[[int], None], tmp_path: Path) -> None:
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

    wait_until_gone(pid)


def test_commands(wait_until_gone: Callable[[int], None], tmp_path: Path) -> None:
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
    wait_until_gone(status["pid"])


def test_a_broker_that_refuses_its_settings_says_why(tmp_path: Path) -> None:
    """A setting that Kafka does not accept ends the start at once, with Kafka's own reason."""
    with pytest.raises(ConfigurationError, match=r"log\.retention\.hours"):
        BrokerNode(tmp_path, overrides={"log.retention.hours": "often"}).start()
