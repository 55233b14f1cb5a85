"""The settings reference: every key with its default, type, unit and one sentence, taken from the models.

`as_yaml` is a settings file that changes nothing. An entry of a list or mapping has no default, so it is commented out:
a line that begins with `#` and a letter or two blanks is an example, `# ` begins a sentence.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
import yaml
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from pipeline.config.section import Section, Unit, documentation
from pipeline.config.settings import Settings

_TYPES: Mapping[Any, str] = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "true or false",
    Path: "path",
    SecretStr: "secret text",
}
_BOUNDS: Mapping[type, tuple[str, str]] = {
    annotated_types.Ge: ("ge", "at least"),
    annotated_types.Gt: ("gt", "above"),
    annotated_types.Le: ("le", "at most"),
    annotated_types.Lt: ("lt", "below"),
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of the settings."""

    key: str
    """Full name, for example `kafka.bootstrap`; `cameras.ID.url` and `labels[].text` stand for every entry."""
    default: Any
    """As JSON has it; None also where there is no default."""
    required: bool
    """True where an entry needs the key."""
    type: str
    unit: str | None
    sentence: str
    example: Any = None
    """A value for a key that has no default."""

    @property
    def environment(self) -> str | None:
        """The variable that sets the key; None for the keys of an entry, whose whole section is one variable."""
        if ".ID." in self.key or "[]" in self.key:
            return None
        return "ACTIONWIRE_" + self.key.upper().replace(".", "__")


@dataclass(frozen=True, slots=True)
class Group:
    """One section of the settings, or the keys of the tree itself."""

    name: str
    """Empty for the tree itself."""
    sentence: str
    settings: tuple[Setting, ...]
    entry: str | None = None
    """For a section of entries, how an example of one begins: the id of a camera, or `-`."""


def groups() -> tuple[Group, ...]:
    """Every section in the order of the tree; the keys outside any section come first."""
    sections: list[Group] = []
    outside: list[Setting] = []
    said = documentation(Settings)
    for name, found in Settings.model_fields.items():
        model = _section(found.annotation)
        if model is None:
            outside.append(_setting(name, found, said[name]))
        elif get_origin(found.annotation) is dict:
            entry = str((found.examples or ["ID"])[0])
            sections.append(Group(name, _sentence(said[name]), _settings(f"{name}.ID.", model), entry))
        elif get_origin(found.annotation) is tuple:
            sections.append(Group(name, _sentence(said[name]), _settings(f"{name}[].", model), "-"))
        else:
            sections.append(Group(name, _sentence(model.__doc__), _settings(f"{name}.", model)))
    return Group("", "", tuple(outside)), *sections


def as_document() -> dict[str, Any]:
    """The reference as a JSON document: `settings` holds one object per key."""
    return {
        "settings": [
            {
                "key": one.key,
                "default": one.default,
                "required": one.required,
                "type": one.type,
                "unit": one.unit,
                "environment": one.environment,
                "description": one.sentence,
            }
            for group in groups()
            for one in group.settings
        ]
    }


def as_yaml() -> str:
    """The reference as a settings file in which every key has its default; cameras and labels are examples."""
    return "\n\n".join("\n".join(_group_lines(group)) for group in groups()) + "\n"


def _group_lines(group: Group) -> Iterator[str]:
    """The section's sentence, its name and its keys; behind `#` where they are an example."""
    if group.sentence:
        yield f"# {group.sentence}"
    if group.entry is None:
        if group.name:
            yield f"{group.name}:"
        yield from _setting_lines(group.settings, "  " if group.name else "")
        return
    yield f"#{group.name}:"
    if group.entry != "-":
        yield f"#  {group.entry}:"
    for number, one in enumerate(group.settings):
        sentence, key = _setting_lines([one], "")
        yield f"#    {sentence}"
        yield f"#  {'- ' if group.entry == '-' and number == 0 else '  '}{key}"


def _setting_lines(settings: tuple[Setting, ...] | list[Setting], indent: str) -> Iterator[str]:
    """Two lines per key: its sentence; the key with its default, type and unit."""
    for one in settings:
        kind = "; ".join(filter(None, (one.type, one.unit, "required" if one.required else None)))
        yield f"{indent}# {one.sentence}"
        value = one.example if one.required else one.default
        yield f"{indent}{one.key.rpartition('.')[2]}: {_scalar(value)}  # {kind}"


def _scalar(value: Any) -> str:
    """A value as YAML on one line."""
    return yaml.safe_dump(value, default_flow_style=True, width=1000, allow_unicode=True).removesuffix("...\n").strip()


def _settings(prefix: str, model: type[BaseModel]) -> tuple[Setting, ...]:
    """The keys of a section; what an entry must have comes first."""
    fields = sorted(model.model_fields.items(), key=lambda pair: not pair[1].is_required())
    said = documentation(model)
    return tuple(_setting(prefix + name, found, said[name]) for name, found in fields)


def _setting(key: str, found: FieldInfo, said: str) -> Setting:
    required = found.is_required()
    default = None if required else found.get_default(call_default_factory=True)
    return Setting(
        key=key,
        default=list(default) if isinstance(default, tuple) else default,
        required=required,
        type=_type(found.annotation, found.metadata),
        unit=_unit(found.annotation, found.metadata),
        sentence=_sentence(said),
        example=(found.examples or [None])[0],
    )


def _sentence(description: str | None) -> str:
    """The first paragraph on one line."""
    return " ".join((description or "").strip().split("\n\n")[0].split())


def _section(annotation: Any) -> type[Section] | None:
    """The model of a section, or of the entries of a list or mapping."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    found = (_section(part) for part in get_args(annotation))
    return next((model for model in found if model is not None), None)


def _type(annotation: Any, metadata: list[Any]) -> str:
    """The type in words, with its bounds."""
    bounds = [(*_BOUNDS[type(one)], one) for one in metadata if type(one) in _BOUNDS]
    limits = [f"{words} {getattr(one, name):.12g}" for name, words, one in bounds]
    return ", ".join([_words(annotation), *limits])


def _words(annotation: Any) -> str:
    if annotation is type(None):
        return "null"
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _words(parts[0])
    if origin in (Union, types.UnionType):
        return " or ".join(_words(part) for part in parts)
    if origin is Literal:
        return " | ".join(str(part) for part in parts)
    if origin is tuple:
        return f"list of {_words(parts[0])}"
    return _TYPES[annotation]


def _unit(annotation: Any, metadata: list[Any]) -> str | None:
    """The unit beside the field's type, or beside one of the types of a union."""
    inner = [note for part in get_args(annotation) for note in getattr(part, "__metadata__", ())]
    return next((note.name for note in (*metadata, *inner) if isinstance(note, Unit)), None)
