"""Commands are listed without being imported, and the list says what the commands say."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from pipeline.cli import COMMANDS, app
from pipeline.commands.labels import LABEL_COMMANDS, labels
from pipeline.commands.lazy_group import LazyCommand, load

TABLES = {**COMMANDS, **{f"labels {name}": command for name, command in LABEL_COMMANDS.items()}}
NETWORKS = ("numpy", "cv2", "av", "openvino", "onnxruntime", "tokenizers")
HEAVY = (*NETWORKS, "pydantic", "kafka", "rich", "structlog", "yaml")


def loaded_by(code: str) -> set[str]:
    """The heavy modules that a fresh interpreter has after this code."""
    program = f"import sys\n{code}\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split() if done.stdout.strip() else [])


@pytest.mark.parametrize(("name", "command"), TABLES.items(), ids=TABLES.keys())
def test_the_list_says_what_the_command_says(name: str, command: LazyCommand) -> None:
    """Each line begins as the command's own help does, so that neither can drift from the other."""
    found = load(name, command)
    own = " ".join((found.help or "").split())

    assert own.startswith(command.help.removesuffix(".")), own
    assert command.help.endswith(".") and len(command.help) <= 90


def test_a_list_imports_no_command() -> None:
    """`--help`, of the program and of a wrong command, needs neither settings nor broker nor networks."""
    run = "from pipeline.cli import app\ntry: app({})\nexcept SystemExit: pass"

    assert loaded_by(run.format("['--help']")) == set()
    assert loaded_by(run.format("['stauts']")) <= {"pydantic"}  # by which typer words its errors


def test_small_commands_import_what_they_use() -> None:
    """What asks the broker for labels or state needs no arrays, pictures or networks."""
    commands = ("labels", "add_label", "status", "topics", "watch", "ready", "up")
    modules = [f"pipeline.commands.{command}" for command in commands]

    found = loaded_by("import " + ", ".join(["pipeline.logs", *modules, "pipeline.broker.kafka_python"]))

    assert "kafka" in found
    assert not found & set(NETWORKS)


@pytest.mark.parametrize("group", [app, labels], ids=["actionwire", "labels"])
def test_a_misspelt_command_is_refused(group: typer.Typer) -> None:
    """With exit code 2 and its name; nothing is imported for it."""
    done = CliRunner().invoke(group, ["stauts"])

    assert done.exit_code == 2 and "stauts" in done.output


def test_a_name_is_what_the_usage_line_shows() -> None:
    """Whatever the function is called."""
    done: Any = CliRunner().invoke(app, ["labels", "list", "--help"])

    assert done.exit_code == 0 and "labels list [OPTIONS]" in done.output
