"""`actionwire status`: cameras, lag, labels and bundle at a glance."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.console import Console, Group, RenderableType
from rich.table import Table

from engines.bundle.files import load
from engines.bundle.store import default_store, resolve
from engines.errors import EngineError
from pipeline.analysis.ticks import SECOND
from pipeline.broker import connect, control_topic
from pipeline.broker.contract import Broker
from pipeline.broker.reading import newest_by_key, partitions_of
from pipeline.commands import labels
from pipeline.commands.options import Bootstrap, ConfigFile, Json, settings_from
from pipeline.config.settings import Settings
from pipeline.errors import BadRecordError, TransientError
from pipeline.records.cameras import FRESH_PERIODS, STOPPED, decode_status
from pipeline.records.fields import LATEST_SESSION, MAX_CAMERA_ID
from pipeline.records.wire import Partition, Record, plain

SECONDS = 10.0
"""How long each request to the broker may take."""

WATCH_SECONDS = 2.0
"""Pause between two looks of --watch."""

_MILLISECOND = SECOND // 1000


def status(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Look again every two seconds, until Ctrl-C.")] = False,
    as_json: Json = False,
    config: ConfigFile = None,
    bootstrap: Bootstrap = None,
) -> None:
    """Show cameras, lag, labels, and the bundle of these settings.

    With --watch a terminal shows the newest state in place, and --json prints one document per line.
    """
    settings = settings_from(config, bootstrap)
    console = Console(markup=False)
    with closing(connect(settings.kafka)) as broker:
        if watch:
            _watch(broker, settings, console, as_json)
            return
        found = collect(broker, settings, now := time.time_ns())
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        console.print(shown(found, now))


def _watch(broker: Broker, settings: Settings, console: Console, as_json: bool) -> None:
    """Look again and again. While the broker is away the last state stays, with the reason below it."""
    from rich.live import Live

    last: Group | None = None
    with ExitStack() as stack:
        live = None
        if console.is_terminal and not as_json:
            live = stack.enter_context(Live(console=console, auto_refresh=False, vertical_overflow="visible"))
        while True:
            away: str | None = None
            try:
                found = collect(broker, settings, now := time.time_ns())
                if as_json:
                    typer.echo(json.dumps(found, ensure_ascii=False))
                last = shown(found, now)
            except TransientError as error:
                away = str(error)
            if live is not None:
                live.update(Group(*(part for part in (last, away) if part is not None)), refresh=True)
            elif away:
                typer.echo(away, err=True)
            elif last and not as_json:
                console.print(last)
            time.sleep(WATCH_SECONDS)


def collect(broker: Broker, settings: Settings, now_ns: int) -> dict[str, Any]:
    """Everything that is shown, as a JSON document.

    A camera without a recent status is `unknown` since its last one (`heard_ms`), whatever that one said. A bundle that
    does not load is part of the document. Raises ConfigurationError for a missing topic, and what the broker raises.
    """
    topics = settings.topics
    fresh_since_ms = now_ns // _MILLISECOND - round(settings.ingest.status_seconds * FRESH_PERIODS * 1000)
    partitions_of(broker, topics.name("control"), SECONDS)
    sets = control_topic.read(broker, topics.name("control"), SECONDS)
    lag = _lag(broker, settings.worker.group, topics.name("frames"))
    return {
        "cameras": _cameras(broker, topics.name("cameras"), fresh_since_ms),
        "lag": {
            "group": settings.worker.group,
            "records": sum(lag.values()),
            "partitions": {str(partition.number): count for partition, count in sorted(lag.items()) if count},
        },
        "labels": labels.listing(sets, labels.refused(settings, sets)),
        "bundle": bundle(settings.worker.bundle),
    }


def bundle(reference: str) -> dict[str, Any]:
    """The bundle that a worker with these settings would load; `problem` says why it cannot."""
    try:
        manifest = load(resolve(reference, default_store()), allow_draft=True).manifest
    except EngineError as error:
        return {"reference": reference, "problem": str(error)}
    return {
        "reference": reference,
        "id": manifest.id,
        "name": manifest.name,
        "version": manifest.version,
        "sealed": manifest.sealed,
        "calibrated": manifest.events.calibrated,
        "fitted_seconds": manifest.events.fitted_seconds,
        "uncalibrated": list(manifest.events.uncalibrated),
        "thresholds": manifest.events.said,
        "kind": manifest.kind,
        "head": manifest.head.architecture,
        "window": {"frames": manifest.window.frames, "rate": manifest.window.rate},
        "space": manifest.space.id,
    }


def shown(found: Mapping[str, Any], now_ns: int) -> Group:
    """The document for people; it fits a terminal of 80 columns."""
    lag, labels_found = found["lag"], found["labels"]
    parts: list[RenderableType] = [_camera_table(found["cameras"], now_ns)]
    notes = ((one["camera"], "; ".join(_notes(one, now_ns))) for one in found["cameras"])
    parts += [f"! {camera}: {note}" for camera, note in notes if note]
    parts.append(f"lag: {lag['records']} records of group {lag['group']}, on {len(lag['partitions'])} partitions")
    texts = ", ".join(label["text"] for label in labels_found["labels"]) or "none"
    parts.append(f"labels (set {labels_found['version']}): {texts}")
    parts += [
        f"NOT watched for: {label['text']}: {label['refused']}"
        for label in labels_found["labels"]
        if "refused" in label
    ]
    parts.append(_bundle_line(found["bundle"]))
    return Group(*parts)


def _lag(broker: Broker, group: str, topic: str) -> Mapping[Partition, int]:
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            return broker.lag(group, topic, SECONDS)
        except TransientError:  # a new cluster has no group coordinator until it is asked for one
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _cameras(broker: Broker, topic: str, fresh_since_ms: int) -> list[dict[str, Any]]:
    """The newest status of every camera; one from before `fresh_since_ms` says nothing about the present."""
    records = newest_by_key(broker, partitions_of(broker, topic, SECONDS), SECONDS)
    return sorted((_camera(record, fresh_since_ms) for record in records), key=lambda one: str(one["camera"]))


def _camera(record: Record, fresh_since_ms: int) -> dict[str, Any]:
    heard_ms = min(max(record.timestamp_ms, 0), LATEST_SESSION - 1)  # a stranger's record says when it was sent
    try:
        found = {**plain(decode_status(record.key, record.value)), "heard_ms": heard_ms}
    except BadRecordError as error:
        name = (record.key or b"").decode(errors="replace")
        return {"camera": name[:MAX_CAMERA_ID], "condition": "unknown", "heard_ms": heard_ms, "last_error": str(error)}
    if (
        heard_ms < fresh_since_ms and found["last_error"] != STOPPED
    ):  # a publisher that stopped on purpose sends no more: its cameras are offline
        found |= {"condition": "unknown", "since_ms": heard_ms}
    return found


def _camera_table(cameras: list[dict[str, Any]], now_ns: int) -> Table:
    table = Table(title=f"{len(cameras)} cameras", title_justify="left", box=SIMPLE, pad_edge=False)
    table.add_column("camera", overflow="fold", max_width=24)
    for heading in ("condition", "for", "source", "clock"):
        table.add_column(heading)
    for one in cameras:
        since = one.get("since_ms")
        held = "" if since is None else _span(now_ns - since * _MILLISECOND)
        source = f"{one['codec']} {one['width']}x{one['height']} {one['fps']:.3g}/s" if one.get("fps") else ""
        offset = one.get("clock_offset_seconds")
        clock = (one.get("clock") or "") + ("" if offset is None else f" {offset:+.2f} s")
        table.add_row(one["camera"], one["condition"], held, source, clock)
    return table


def _notes(one: Mapping[str, Any], now_ns: int) -> Iterator[str]:
    if (publisher := one.get("publisher")) and one["condition"] == "unknown":
        yield f"nothing heard from {publisher} for {_span(now_ns - one['heard_ms'] * _MILLISECOND)}"
    elif conflict := one.get("conflict"):
        yield f"published by {publisher} and {conflict}"
    if last_error := one.get("last_error"):
        yield last_error
    if dropped := one.get("dropped"):
        yield f"{dropped} frames dropped, because the broker did not take them in time"


def _bundle_line(found: Mapping[str, Any]) -> str:
    if "problem" in found:
        return f"bundle {found['reference']}: {found['problem']}"
    window = found["window"]
    line = (
        f"bundle {found['name']}@{found['version']} ({found['id'][:12]}), {found['head']}, "
        f"{window['frames']} frames at {window['rate']}/s"
    )
    return f"{line}\n{found['thresholds']}"


def _span(nanoseconds: int) -> str:
    seconds = max(nanoseconds, 0) // SECOND
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
