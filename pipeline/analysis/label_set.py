"""Which labels are in force: those of the settings and those added while running (ARCHITECTURE 5b).

    control topic   0: config = {fall, fight}    1: live/run added          2: live/run removed
    in force           {fall, fight} v0             {fall, fight, run} v1      {fall, fight} v2

The version of the set in force is the offset of the newest control record, so it grows with every change. If a live
label has the id of a label of the settings, the live one wins: a person asked for it last.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from engines.canonical import canonical_json, folded, spaced
from engines.strict_json import short
from pipeline.errors import ConfigurationError
from pipeline.records.label_report import LabelReport
from pipeline.records.labels import (
    MOST_EXAMPLES,
    MOST_REPLACED,
    ConfigLabels,
    ControlRecord,
    Label,
    LabelPart,
    LiveLabel,
    PartedLabels,
    label_document,
    label_from,
)

_LONGEST_ID = 64
MOST_GROUPS = 64
MOST_IN_PARTS = 200_000
"""Consumer groups whose reports are remembered, and labels of parts that wait for the rest of their set: who may write
the control topic may not fill anybody's memory."""


@dataclass(frozen=True, slots=True)
class LabelSet:
    """The labels in force, ordered by id."""

    labels: tuple[Label, ...] = ()
    version: int = -1
    """Offset of the newest control record; -1 before the first."""


@dataclass(frozen=True, slots=True)
class LabelSets:
    """The content of the control topic so far."""

    config: tuple[Label, ...] = ()
    live: tuple[Label, ...] = ()
    version: int = -1
    content: str | None = None
    """Content of `config`; None before the first."""
    replaced: tuple[str, ...] = ()
    """Contents of `config` that were in force and were replaced, oldest first."""
    reports: Mapping[str, LabelReport] = field(default_factory=dict)
    """What workers said, by consumer group."""
    parts: Mapping[tuple[int, int], tuple[Label, ...]] = field(default_factory=dict)
    """Parts of a `config` that is not there yet, by generation and number."""
    generation: int | None = None
    """Of the parts that `config` was put together from; None: it was one record."""


def apply(sets: LabelSets, record: ControlRecord, offset: int) -> LabelSets:
    """Apply one control record. A record that was applied before changes nothing, nor does one without its parts."""
    if isinstance(record, LabelReport):
        reports = [report for report in sets.reports.values() if report.group != record.group]
        return replace(sets, reports={report.group: report for report in [*reports, record][-MOST_GROUPS:]})
    if offset <= sets.version:
        return sets
    match record:
        case LabelPart(generation, number, labels):
            parts = {**sets.parts, (generation, number): labels}
            return replace(sets, parts=parts) if sum(map(len, parts.values())) <= MOST_IN_PARTS else sets
        case PartedLabels():
            return _put_together(sets, record, offset)
        case ConfigLabels():
            return replace(_configured(sets, record, content_of(record.labels), offset), generation=None)
    others = {label.id: label for label in sets.live if label.id != record.id}
    live = others if record.label is None else {**others, record.id: record.label}
    return replace(sets, live=tuple(live[label_id] for label_id in sorted(live)), version=offset)


def _put_together(sets: LabelSets, named: PartedLabels, offset: int) -> LabelSets:
    """Nothing changes where a part is missing, or another writer's: then this version stands for the next one."""
    numbered = [sets.parts.get((named.generation, number)) for number in range(named.count)]
    labels = tuple(label for part in numbered if part is not None for label in part)
    if None in numbered or content_of(labels) != named.content:
        return sets
    kept = {place: part for place, part in sets.parts.items() if place[0] != named.generation}
    config = ConfigLabels(labels, named.replaced)
    return replace(_configured(sets, config, named.content, offset), parts=kept, generation=named.generation)


def _configured(sets: LabelSets, record: ConfigLabels, content: str, offset: int) -> LabelSets:
    before = (*sets.replaced, *record.replaced, *([] if sets.content is None else [sets.content]))
    replaced = tuple(dict.fromkeys(one for one in before if one != content))[-MOST_REPLACED:]
    return replace(sets, config=record.labels, version=offset, content=content, replaced=replaced)


def content_of(labels: Iterable[Label]) -> str:
    """Names a set of labels by what it says, whatever their order: 16 hexadecimal digits."""
    documents = [label_document(label) for label in sorted(labels, key=lambda label: label.id)]
    return hashlib.sha256(canonical_json(documents)).hexdigest()[:16]


def from_settings(sets: LabelSets, labels: Iterable[Label], *, edited: bool) -> ConfigLabels | None:
    """The record that puts the labels of a settings file in force; None where there is nothing to write.

    edited: somebody asks for them now. Otherwise a process merely starts with them, and a content that was in force
    before and was replaced is not put back: whoever replaced it knew more than an old file does.
    """
    wanted = tuple(sorted(labels, key=lambda label: label.id))
    content = content_of(wanted)
    if content == sets.content or (content in sets.replaced and not edited):
        return None
    before = sets.replaced if sets.content is None else (*sets.replaced, sets.content)
    return ConfigLabels(wanted, tuple(one for one in before if one != content)[-MOST_REPLACED:])


def in_force(sets: LabelSets) -> LabelSet:
    """The union; a live label hides a label of the settings with the same id."""
    union = {label.id: label for label in (*sets.config, *sets.live)}
    return LabelSet(tuple(union[label_id] for label_id in sorted(union)), sets.version)


def make(fields: Mapping[str, Any]) -> Label:
    """A label from what a person wrote. Without an id it gets one made from its text.

    fields: keys of `records.labels.Label`; a value of None counts as absent. Raises ConfigurationError with the key and
    the reason.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    text = spaced(str(given.get("text", "")))
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ConfigurationError(f"label {text!a} is not valid Unicode text; write it in UTF-8")
    given = {"id": slug(text), **given, "text": text}
    try:
        label = label_from(given)
    except ValueError as error:
        raise ConfigurationError(f"label {short(text)}: {error}") from None
    if label.enter is not None and label.exit is not None and label.exit > label.enter:
        raise ConfigurationError(f"label {text!r}: exit {label.exit} is above enter {label.enter}; lower exit")
    return label


def collect(labels: Iterable[Label]) -> tuple[Label, ...]:
    """Labels of one set, ordered by id. Raises ConfigurationError if two have the same id."""
    found: dict[str, Label] = {}
    for label in labels:
        other = found.setdefault(label.id, label)
        if other is not label:
            raise ConfigurationError(
                f"labels {other.text!r} and {label.text!r} have the same id {label.id!r}; give one another `id:`"
            )
    return tuple(found[label_id] for label_id in sorted(found))


def added(sets: LabelSets, label: Label) -> LiveLabel:
    """The record that adds a label, or replaces a live label of the same text, whose examples it keeps.

    Raises ConfigurationError if another text already has the id.
    """
    for other in (*sets.config, *sets.live):
        if other.id == label.id and folded(other.text) != folded(label.text):
            raise ConfigurationError(
                f"label {label.text!r} would have the id {label.id!r} of {other.text!r}; choose another with --id"
            )
        if other.id == label.id and not label.examples:
            label = replace(label, examples=other.examples, counterexamples=other.counterexamples)
    return LiveLabel(label.id, label)


def enrolled(sets: LabelSets, label: Label, examples: Iterable[str], counterexamples: Iterable[str] = ()) -> LiveLabel:
    """The record that adds examples to a label, by their ids: to the one in force with its id, else to this new one.

    Raises ConfigurationError if another text has the id, and for more examples than a label may have.
    """
    known = next((one for one in in_force(sets).labels if one.id == label.id), label)
    if folded(known.text) == folded(label.text):
        label = known
    shown, others = (*label.examples, *examples), (*label.counterexamples, *counterexamples)
    if max(len(shown), len(others)) > MOST_EXAMPLES:
        raise ConfigurationError(
            f"label {label.text!r} would have {max(len(shown), len(others))} examples, at most {MOST_EXAMPLES} are "
            "kept; `actionwire enrol remove` it and enrol the best ones"
        )
    return added(sets, replace(label, examples=shown, counterexamples=others))


def removed(sets: LabelSets, name: str) -> LiveLabel:
    """The record that removes the live label of this id or text.

    Raises ConfigurationError if there is none, or if it comes from the settings, where a person must remove it.
    """
    wanted = {name, slug(name)}
    for label in sets.live:
        if label.id in wanted or folded(label.text) == folded(name):
            return LiveLabel(label.id, None)
    if any(label.id in wanted for label in sets.config):
        raise ConfigurationError(
            f"label {name!r} comes from the settings file; remove it there, then `actionwire labels apply FILE`"
        )
    known = ", ".join(label.id for label in sets.live) or "none"
    raise ConfigurationError(f"no label {name!r}; labels that can be removed: {known}")


def slug(text: str) -> str:
    """A stable id for a text: its letters and digits in lower case, joined by hyphens, at most 64 characters.

    A text without any (another script, for example) gets an id made from its hash.
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    joined = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    mark = hashlib.sha256(text.encode()).hexdigest()[:8]
    if not joined:
        return f"label-{mark}"
    return joined if len(joined) <= _LONGEST_ID else f"{joined[: _LONGEST_ID - 9].rstrip('-')}-{mark}"
