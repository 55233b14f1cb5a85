"""Reads the settings from file, environment and command line.

The file is YAML: $ACTIONWIRE_CONFIG, or ./actionwire.yaml. Variables of the environment win over it:

    ACTIONWIRE_KAFKA__BOOTSTRAP=broker:9092       one key: the section, two underscores, the key
    ACTIONWIRE_LABELS='["a person falls down"]'   a whole section, as JSON

Options of a command win over both. Every problem becomes one ConfigurationError that names the key, the reason and the
remedy. It never shows the value, which may be a secret.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_settings import SettingsError

from engines.strict_json import short
from pipeline.config.problems import explain, one_line
from pipeline.config.settings import Settings, SettingsOfFile
from pipeline.errors import ConfigurationError

_PREFIX = "ACTIONWIRE_"
_DEEPEST = 30
"""Levels of a settings file; the settings have five."""
_MOST_VALUES = 100_000
"""Values of a settings file; a thousand cameras have some thousands."""
DEFAULT_FILE = Path("actionwire.yaml")


def source_file(path: Path | None = None) -> Path | None:
    """The settings file in force: `path`, else $ACTIONWIRE_CONFIG, else ./actionwire.yaml if it exists."""
    if path is None and (named := os.environ.get("ACTIONWIRE_CONFIG")):
        return Path(named)
    return path or (DEFAULT_FILE if DEFAULT_FILE.exists() else None)


def load(path: Path | None = None, overrides: Mapping[str, Mapping[str, Any]] | None = None) -> Settings:
    """Read the settings: the file of `source_file`, then the environment.

    overrides: values of command-line options by section, for example {"kafka": {"bootstrap": "in-process"}}; they win.
    Raises ConfigurationError that names the key, the reason and, for a misspelt key, the nearest correct one.
    """
    for name, value in os.environ.items():
        if _is_setting(name) and not _is_text(value):
            raise ConfigurationError(f"the environment: {one_line(name)} holds characters that are not text")
    chosen = source_file(path)
    document = _filled_sections(read_document(chosen)) if chosen else {}
    where = str(chosen or "the environment")
    try:
        settings = Settings(**document)
    except ValidationError as error:
        raise ConfigurationError(f"{where}: {explain(error)}") from None
    except SettingsError as error:
        raise ConfigurationError(f"the environment: {_not_json(error)}") from None
    except RecursionError:  # the file was looked at: what is left is the JSON of a variable
        raise ConfigurationError("the environment: an ACTIONWIRE_ variable is nested too deep to be settings") from None
    return _overridden(settings, overrides or {})


def _overridden(settings: Settings, overrides: Mapping[str, Mapping[str, Any]]) -> Settings:
    for section, values in overrides.items():
        current = getattr(settings, section)
        try:
            merged = type(current).model_validate({**current.model_dump(), **values}) if values else current
        except ValidationError as error:
            raise ConfigurationError(f"the command line: {explain(error, (section,))}") from None
        settings = settings.model_copy(update={section: merged})
    return settings


def load_file(path: Path) -> Settings:
    """Read the settings of a file alone, whatever the environment holds. Raises ConfigurationError like `load`."""
    try:
        return SettingsOfFile(**_filled_sections(read_document(path)))
    except ValidationError as error:
        raise ConfigurationError(f"{path}: {explain(error)}") from None


class _Strict(yaml.SafeLoader):
    """Takes every key as it is written, and refuses one that occurs twice in a mapping: the second would silently
    replace the first.

    Keys are names, so `101` and `on` are neither a number nor a truth value. Refused is as well what YAML allows and
    settings never need: deep nesting, values that are no text, and aliases of aliases, which unfold into more than any
    memory holds.
    """

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._level = 0
        self._unfolded: dict[yaml.Node, tuple[int, int]] = {}
        """Values and levels of every node that is complete, with what its aliases stand for."""

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:
        """Measure each node as soon as it is complete; one that is met before that holds itself."""
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        is_alias = self.check_event(yaml.AliasEvent)
        self._level += 1
        if self._level > _DEEPEST:
            raise yaml.MarkedYAMLError(problem=f"nested deeper than {_DEEPEST} levels", problem_mark=mark)
        node = super().compose_node(parent, index)
        self._level -= 1
        if node is not None and not is_alias:
            self._unfolded[node] = self._measured(node)
        if node is None or node not in self._unfolded:
            raise yaml.MarkedYAMLError(problem="an alias stands inside of what it names", problem_mark=mark)
        size, levels = self._unfolded[node]
        if size > _MOST_VALUES or levels > _DEEPEST:
            raise yaml.MarkedYAMLError(problem="aliases unfold into too much to be settings", problem_mark=mark)
        if isinstance(node, yaml.ScalarNode) and not _is_text(node.value):
            raise yaml.MarkedYAMLError(problem="a value holds half of a character", problem_mark=mark)
        return node

    def _measured(self, node: yaml.Node) -> tuple[int, int]:
        inner = [] if isinstance(node, yaml.ScalarNode) else node.value
        parts = [part for pair in inner for part in (pair if isinstance(pair, tuple) else (pair,))]
        found = [self._unfolded[part] for part in parts]
        return 1 + sum(size for size, _ in found), 1 + max((levels for _, levels in found), default=0)

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Check the keys as they are written, before `<<` merges others in."""
        node = super().compose_mapping_node(anchor)
        scalars = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
        seen: set[str] = set()
        for key in scalars:
            if key.value in seen:
                problem, remedy = f"the key {short(key.value)} stands twice", "rename one of them, or take it out"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark, note=remedy)
            seen.add(key.value)
            key.tag = "tag:yaml.org,2002:str"
        return node


def read_document(path: Path) -> dict[str, Any]:
    """Parse a YAML file that holds a mapping. Raises ConfigurationError with line and column."""
    try:
        document = yaml.load(path.read_text(), _Strict)
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}; name another file with --config") from error
    except yaml.MarkedYAMLError as error:
        # The mark's snippet is left out: the line may hold a password.
        mark = error.problem_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        remedy = f"; {error.note}" if error.note else ""
        raise ConfigurationError(f"{path} is not YAML: {one_line(error.problem or '')}{where}{remedy}") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise ConfigurationError(f"{path} is not YAML: it holds characters that are not text") from None
    except (ValueError, AttributeError):  # the latter of a value that is marked as a date
        remedy = "put it in quotes"
        raise ConfigurationError(f"{path}: a value looks like a date or a number and is none; {remedy}") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigurationError(f"{path} must hold a mapping such as 'cameras:', not a {type(document).__name__}")
    return document


def _is_setting(variable: str) -> bool:
    name = variable.upper()
    return name.startswith(_PREFIX) and name.removeprefix(_PREFIX).split("__")[0].lower() in Settings.model_fields


def _is_text(value: str) -> bool:
    """False for what cannot be written in UTF-8: bytes of another encoding, or half of a surrogate pair."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _filled_sections(document: dict[str, Any]) -> dict[str, Any]:
    """Leave out sections that hold nothing: `cameras:` stays behind when somebody deletes the last camera.

    `labels:` stays behind when somebody deletes the last label: an empty list, unlike a file that says nothing of them.
    """
    named = {key: [] if key == "labels" and value is None else value for key, value in document.items()}
    return {key: value for key, value in named.items() if value is not None or key not in Settings.model_fields}


def _not_json(error: SettingsError) -> str:
    """Name the variable that should hold a whole section as JSON; its value is left out, because it may be a secret."""
    section = re.search(r'field "(\w+)"', str(error))
    if section is None:
        return "the variable of a section holds no JSON; write JSON, or one key as ACTIONWIRE_SECTION__KEY"
    name = f"ACTIONWIRE_{section[1].upper()}"
    if isinstance(Settings.model_fields[section[1]].default, tuple):
        return f"{name} holds no JSON; write a list such as '[\"a person falls down\"]'"
    return f"{name} holds no JSON; write the section as JSON, or one of its keys as {name}__KEY"
