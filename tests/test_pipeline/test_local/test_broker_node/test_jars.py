"""The jars of the broker: pins, checks and the shared cache."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import ConfigurationError
from pipeline.local.broker_node import jars

DEADLINE = 60.0


def test_every_jar_is_pinned() -> None:
    """Each jar has an exact version and a sha256, and the broker's own version is the one that is promised."""
    pins = jars.pinned()

    assert pins.version == "4.1.2"
    assert f"org.apache.kafka:kafka_2.13:{pins.version}" in {jar.coordinate for jar in pins.jars}
    assert all(len(jar.sha256) == 64 and jar.coordinate.count(":") == 2 and jar.bytes > 0 for jar in pins.jars)
    assert len({jar.file_name for jar in pins.jars}) == len(pins.jars)


def test_a_jar_that_was_altered_is_fetched_again(tmp_path: Path) -> None:
    """A jar that does not match its hash is replaced before anything is launched, and the folder is left clean."""
    smallest = min(jars.pinned().jars, key=lambda jar: jar.bytes)
    pins = jars.Pinned("4.1.2", (smallest,))
    (tmp_path / smallest.file_name).write_bytes(b"altered")

    assert jars.fetch(tmp_path, pins) == [tmp_path / smallest.file_name]
    assert (tmp_path / smallest.file_name).stat().st_size == smallest.bytes
    assert {path.name for path in tmp_path.iterdir()} == {smallest.file_name, ".lock"}


def test_a_download_with_another_hash_is_refused(tmp_path: Path) -> None:
    """What the repository gives must match the pin, or nothing of it is kept."""
    smallest = min(jars.pinned().jars, key=lambda jar: jar.bytes)
    pins = jars.Pinned("4.1.2", (dataclasses.replace(smallest, sha256="0" * 64),))
    with pytest.raises(ConfigurationError, match="does not have the sha256 that this release pins"):
        jars.fetch(tmp_path, pins)

    assert not list(tmp_path.glob("*.jar"))


def test_two_processes_may_fetch_at_once(tmp_path: Path) -> None:
    """Processes that need the same jar at the same time all end with the right one."""
    program = (
        "import sys; from pathlib import Path; from pipeline.local.broker_node import jars\n"
        "jar = min(jars.pinned().jars, key=lambda jar: jar.bytes)\n"
        "jars.fetch(Path(sys.argv[1]), jars.Pinned('4.1.2', (jar,)))"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    processes = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(2)]

    assert [process.wait(DEADLINE) for process in processes] == [0, 0]
