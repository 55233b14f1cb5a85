"""What the pages at the root of the project say is there: files, modules, commands, targets."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer.main

import engines.cli
import pipeline.cli
import trainer.cli
from pipeline.records.schemas import schema

ROOT = Path(__file__).parents[1]
PAGES = (
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "deploy/README.md",
    *sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")),
)
PLACES = ("pipeline", "engines", "trainer", "deploy", "docs", "tests", ".ci", "prometheus", "..")
PROGRAMS = {
    "actionwire": pipeline.cli.app,
    "actionwire-engines": engines.cli.app,
    "actionwire-trainer": trainer.cli.app,
}


def quoted(line: str) -> list[str]:
    """Everything on a line that stands in backquotes or is the target of a link."""
    return [word or link for word, link in re.findall(r"`([^`\s]+)`|\]\(([^)#\s]+)\)", line)]


def named(page: str, line: str) -> Iterator[Path]:
    """The paths that a line names; a file without a folder lies beside the one before it on the same line."""
    folder = beside = (ROOT / page).parent
    for word in quoted(line):
        module = re.fullmatch(r"(pipeline|engines|trainer)(\.[a-z_0-9]+)+", word)
        if module:
            found = ROOT.joinpath(*word.split("."))
            yield found if found.is_dir() else found.with_suffix(".py")
        elif "/" in word and word.split("/")[0] in PLACES:
            found = (beside if (beside / word.split("/")[0]).is_dir() else ROOT) / word
            folder = found if word.endswith("/") else found.parent
            yield found
        elif re.fullmatch(r"[a-z_]+(\.py|/)", word):
            # `kafka_python/` after `pipeline/broker/contract.py` lies beside it.
            yield folder / word
        elif f"]({word})" in line and "://" not in word:
            yield beside / word


def commands(page: str) -> list[str]:
    """The lines of a page's code blocks that call one of the programs or make, each call by itself."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)
    lines = [call for block in blocks for line in block.splitlines() for call in re.split(r"&&?|#| \| ", line)]
    return [line.strip() for line in lines if line.split() and line.split()[0] in (*PROGRAMS, "make")]


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_names_exists(page: str) -> None:
    """A moved module must not leave a reader with a name that leads nowhere."""
    found = [path for line in (ROOT / page).read_text().splitlines() for path in named(page, line)]

    assert found
    assert [str(path.relative_to(ROOT)) for path in found if not path.exists()] == []


def test_a_name_that_leads_nowhere_is_noticed() -> None:
    """The rule for reading a line finds files, their neighbours, modules and links, and leaves other words alone."""
    line = (
        "| x | `pipeline/camera/reader.py`, `source.py`, `gone.py` in `engines.store`, [a](LOST.md), `read_committed` |"
    )

    names = [str(path.relative_to(ROOT)) for path in named("README.md", line)]

    assert names == [
        "pipeline/camera/reader.py", "pipeline/camera/source.py", "pipeline/camera/gone.py",
        "engines/store.py", "LOST.md",
    ]  # fmt: skip


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_exists(page: str) -> None:
    """Each call in a code block names a command, and options, that the programs have; `make` names a target."""
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line in commands(page):
        program, *arguments = shlex.split(line)
        if program == "make":
            assert arguments[0] in targets, line
        else:
            _check(line, typer.main.get_command(PROGRAMS[program]), arguments)


def test_the_readme_has_commands_to_check() -> None:
    """The rule for finding calls finds those of serving, trainer and make."""
    assert {line.split()[0] for line in commands("README.md")} >= {"actionwire", "actionwire-trainer", "make"}


def _check(line: str, command: Any, arguments: list[str]) -> None:
    while arguments and hasattr(command, "commands"):
        if arguments[0] not in command.commands and getattr(command, "unnamed", None):
            arguments.insert(0, command.unnamed)  # `data FOLDER` is short for `data list FOLDER`
        name, *arguments = arguments
        assert name in command.commands, line
        command = command.commands[name]
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    given = {word.partition("=")[0] for word in arguments if word.startswith("-")}
    assert given <= options | {"--help"}, line


def test_the_event_of_the_readme_is_one() -> None:
    """The example message keeps to the published schema and shows every field of it."""
    (block,) = re.findall(r"^```json\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    event = json.loads(block)

    jsonschema.validate(event, schema("event"))
    assert event.keys() == schema("event")["properties"].keys()
