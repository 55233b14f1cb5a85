"""The model card: what a bundle was made from, how well it does, and what it cannot be trusted with. Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from engines.bundle.files import Manifest
from trainer.data.manifest import SPLITS, Clip

if TYPE_CHECKING:
    from trainer.recipe import Recipe

Row = Sequence[object]


def card(manifest: Manifest, recipe: Recipe, clips: Sequence[Clip], figures: Mapping[str, float]) -> str:
    """The card of a sealed bundle that was trained on clips by a recipe.

    figures: the report of the training. Texts are written so that no label or path can end a table or a line.
    """
    parts = [
        [f"# {manifest.name}@{manifest.version}", "", _summary(manifest)],
        ["## Data", "", *_data(clips)],
        ["## Training", "", *_training(manifest, recipe)],
        ["## Measured", "", *_measured(manifest, figures)],
        ["## Limits", "", *(f"- {line}" for line in _limits(manifest, clips))],
        ["## Licences", "", *(f"- {line}" for line in _licences(manifest, recipe))],
    ]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _summary(manifest: Manifest) -> str:
    window = manifest.window
    return (
        f"Bundle {manifest.id[:12]}: windows of {window.frames} pictures at {window.rate} a second "
        f"({window.frames / window.rate:g} s), {manifest.input.width} x {manifest.input.height} pixels, space "
        f"{manifest.space.id}, "
        + ("calibrated." if manifest.events.calibrated else "NOT calibrated: its thresholds are set by hand.")
    )


def _data(clips: Sequence[Clip]) -> Iterable[str]:
    count: Counter[tuple[str, str]] = Counter()
    for clip in clips:
        shown = clip.labels or [f"(background) {text}" for text in clip.shows] or ["(background)"]
        count.update((label, clip.split) for label in shown)
    labels = sorted({label for label, _ in count})
    rows = [(label, *(count[label, split] for split in SPLITS)) for label in labels]
    yield from _table(("label", *SPLITS), rows)
    groups = {clip.group for clip in clips if clip.group}
    yield ""
    yield (
        f"{len(clips)} clips of {len({clip.path for clip in clips})} files; {len(groups)} groups, none of them in two "
        "splits." if groups else f"{len(clips)} clips of {len({clip.path for clip in clips})} files; no groups were "
        "named, so clips of one recording or person may lie in two splits."
    )  # fmt: skip


def _training(manifest: Manifest, recipe: Recipe) -> Iterable[str]:
    start = recipe.start.kind
    weights = f", weights {_cell(manifest.encoder.pretrained)}" if manifest.encoder.pretrained else ""
    yield f"- start: {start}, {_cell(manifest.encoder.architecture)}{weights}; freeze {recipe.freeze}"
    yield f"- head: {manifest.head.architecture}, {manifest.head.parameters:,} parameters"
    made_by = f"actionwire {manifest.producer.actionwire}"
    yield f"- recipe {_cell(recipe.name)}, seed {recipe.seed}, {recipe.steps} steps, {made_by}"


def _measured(manifest: Manifest, figures: Mapping[str, float]) -> Iterable[str]:
    rows: list[Row] = [(name, f"{value:g}") for name, value in sorted(figures.items())]
    yield from _table(("of the training's own report", "value"), rows)
    report = manifest.events.report or {}
    held = report.get("held_back")
    if held:
        yield ""
        yield (
            f"Streams of {report.get('held_back', {}).get('source', 'recordings')} ({held.get('clips', '')}), "
            f"{3600 * held['camera_hours']:.0f} s:"
        )
        yield ""
        names = ("event_f1", "event_precision", "event_recall", "truth_events", "false_alarms_per_camera_hour")
        yield from _table(("events", "value"), [(name, held[name]) for name in names if name in held])


def _limits(manifest: Manifest, clips: Sequence[Clip]) -> Iterable[str]:
    report = manifest.events.report or {}
    fitted = report.get("fitted_on")
    if not manifest.events.calibrated:
        yield f"Thresholds were not calibrated: {report.get('reason', 'nothing to fit them to')}."
    elif fitted:
        yield (
            f"Thresholds were fitted on {fitted['seconds']:g} s of streams with {fitted['actions']} actions and "
            f"{fitted['quiet_seconds']:g} s in which nothing happens; quiet stretches show {report.get('quiet_shows')}."
        )
        if held := report.get("held_back"):
            yield f"They were measured on: {held.get('clips', 'other recordings')}."
    for label, reason in report.get("uncalibrated", {}).items():
        yield f"{_cell(label)}: the thresholds of all labels together, not its own ({reason})."
    if not any(clip.background for clip in clips):
        yield "It was trained without background: expect false alarms where something else happens."
    yield "It knows the labels above, in these cameras. Other actions and other places were not measured."


def _licences(manifest: Manifest, recipe: Recipe) -> Iterable[str]:
    from trainer.models.towers.packaged import KNOWN, PREFIX

    yield f"This model: {_cell(manifest.licence)}"
    for place in _places(recipe):
        if place.startswith(PREFIX) and (known := KNOWN.get(place.removeprefix(PREFIX))):
            yield f"{place.removeprefix(PREFIX)}: {known.licence}; trained on {known.trained_on}"
        else:
            yield f"{_cell(place)}: as its publisher states"


def _places(recipe: Recipe) -> Iterable[str]:
    """Where the weights of the start come from."""
    start = recipe.start
    if start.kind == "parts":
        yield start.image.weights
        yield start.text.folder
    elif start.kind == "clip":
        yield f"{start.name} {start.pretrained or ''}".strip()
    elif start.kind == "run":
        yield str(start.checkpoint)
    elif start.kind == "release":
        yield str(start.file)


def _table(header: Row, rows: Sequence[Row]) -> Iterable[str]:
    yield _row(header)
    yield _row(["---"] * len(header))
    yield from map(_row, rows)


def _row(cells: Row) -> str:
    return f"| {' | '.join(map(_cell, cells))} |"


def _cell(value: object) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")
