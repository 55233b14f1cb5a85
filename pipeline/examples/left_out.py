"""How a label would score what it was shown, had that not been shown: each example against the others."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from pipeline.examples.encoding import Find
from pipeline.records.examples import Example
from pipeline.records.labels import Label

_MARK = "/without/"
"""No id of a label has it."""


def without_each(label: Label) -> tuple[Label, ...]:
    """The label without its first example, without its second, and so on; none where it has only one."""
    if len(label.examples) < 2:
        return ()
    return tuple(
        replace(label, id=f"{label.id}{_MARK}{one}", examples=tuple(other for other in label.examples if other != one))
        for one in label.examples
    )


def as_of_one(find: Find) -> Find:
    """A `Find` that knows such labels: their examples are those of the label that they were made from."""

    def found(keys: Collection[tuple[str, str]]) -> Iterable[Example]:
        names: dict[tuple[str, str], list[str]] = {}
        for label, example in keys:
            names.setdefault((label.partition(_MARK)[0], example), []).append(label)
        for one in find(list(names)):
            yield from (replace(one, label=label) for label in names[one.label, one.id])

    return found
