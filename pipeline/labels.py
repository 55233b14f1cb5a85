"""Which labels are in force: the union of the set in the settings and the one edited while running (DESIGN section 5b).

    control topic    offset 0: config = {fall, fight}   1: live = {run}   2: live = {}
    in force                {fall, fight} v0            {fall, fight, run} v1      {fall, fight} v2

The version of what is in force is the offset of the newest record, so it grows with every change. Where both sets hold
a label of one id, the live one counts: it is what a person asked for last.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pipeline.errors import ConfigurationError
from pipeline.records.labels import Label, LabelSetRecord, SetName, label_from

_LONGEST_ID = 64
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


@dataclass(frozen=True, slots=True)
class LabelSet:
    """The labels in force, ordered by id."""

    labels: tuple[Label, ...] = ()
    version: int = -1
    """Offset of the newest control record; -1 before the first."""


@dataclass(frozen=True, slots=True)
class LabelSets:
    """What the control topic said so far."""

    config: tuple[Label, ...] = ()
    live: tuple[Label, ...] = ()
    version: int = -1

    def named(self, name: SetName) -> LabelSetRecord:
        """One of the two sets."""
        return LabelSetRecord(name, self.config if name == "config" else self.live)


def apply(sets: LabelSets, name: SetName, labels: tuple[Label, ...], offset: int) -> LabelSets:
    """Take one control record into account. Records that were already seen change nothing."""
    if offset <= sets.version:
        return sets
    config, live = (labels, sets.live) if name == "config" else (sets.config, labels)
    return LabelSets(config, live, offset)


def in_force(sets: LabelSets) -> LabelSet:
    """The union of both sets; live labels hide those of the same id from the settings."""
    union = {label.id: label for label in (*sets.config, *sets.live)}
    return LabelSet(tuple(union[label_id] for label_id in sorted(union)), sets.version)


def make(fields: Mapping[str, Any]) -> Label:
    """A label from what a person wrote: an id is made from the text where none is given.

    fields: keys of `records.labels.Label`; a value of None counts as not given. Raises ConfigurationError that names
    the key and the reason.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    text = " ".join(str(given.get("text", "")).split())
    given = {"id": slug(text), **given, "text": text}
    try:
        label = label_from(given)
    except ValueError as error:
        raise ConfigurationError(f"label {text!r}: {error}") from None
    if not _ID.fullmatch(label.id):
        raise ConfigurationError(
            f"label {text!r}: id {label.id!r} must be 1 to 64 of a-z, 0-9 and -, not starting with -"
        )
    if not label.cameras:
        raise ConfigurationError(f"label {text!r}: 'cameras' is empty; name ids or globs, or leave it out for all")
    if label.enter is not None and label.exit is not None and label.exit > label.enter:
        raise ConfigurationError(f"label {text!r}: exit {label.exit} is above enter {label.enter}; lower exit")
    return label


def collect(labels: Iterable[Label]) -> tuple[Label, ...]:
    """Labels of one set, ordered by id. Raises ConfigurationError where two have the same id."""
    found: dict[str, Label] = {}
    for label in labels:
        other = found.setdefault(label.id, label)
        if other is not label:
            raise ConfigurationError(
                f"labels {other.text!r} and {label.text!r} have the same id {label.id!r}; give one another `id:`"
            )
    return tuple(found[label_id] for label_id in sorted(found))


def added(sets: LabelSets, label: Label) -> LabelSets:
    """The sets with a label added to the live one; it takes the place of a live label of the same text.

    Raises ConfigurationError where another text already has the id.
    """
    for other in (*sets.config, *sets.live):
        if other.id == label.id and other.text.casefold() != label.text.casefold():
            raise ConfigurationError(
                f"label {label.text!r} would have the id {label.id!r} of {other.text!r}; choose another with --id"
            )
    return replace(sets, live=collect([*(other for other in sets.live if other.id != label.id), label]))


def removed(sets: LabelSets, name: str) -> LabelSets:
    """The sets without the live label of this id or text.

    Raises ConfigurationError where there is none, or where it is in the settings: there it must be removed.
    """
    wanted = {name, slug(name)}
    if any(label.id in wanted for label in sets.live):
        return replace(sets, live=tuple(label for label in sets.live if label.id not in wanted))
    if any(label.id in wanted for label in sets.config):
        raise ConfigurationError(f"label {name!r} comes from the settings file; remove it there and apply the file")
    known = ", ".join(label.id for label in sets.live) or "none"
    raise ConfigurationError(f"no label {name!r}; labels that can be removed: {known}")


def slug(text: str) -> str:
    """A stable id for a text: its letters and digits in lower case, joined by hyphens, at most 64 characters.

    A text of another script has no such letters, so its id is made from its hash.
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    joined = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    mark = hashlib.sha256(text.encode()).hexdigest()[:8]
    if not joined:
        return f"label-{mark}"
    return joined if len(joined) <= _LONGEST_ID else f"{joined[: _LONGEST_ID - 9].rstrip('-')}-{mark}"
