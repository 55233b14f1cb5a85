"""What many labels cost: of the frames per second, and of one's patience when one more is added."""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path
from statistics import median
from typing import Any

from models import of_models, served

from engines.bench.rounds import Call, cost, figure, measure, ratio
from engines.bundle.files import Bundle
from pipeline.analysis.label_set import LabelSet
from pipeline.bench.many_labels import embed_at_random, many_labels
from pipeline.bench.streams import Streams
from pipeline.records.labels import Label
from pipeline.worker.model import Model

FEW, SOME, MANY = 10, 1_000, 10_000
CAMERAS = 64
BATCH = 8


def labels(*, quick: bool) -> dict[str, Any]:
    """Return, for each model, the share of frames per second that labels cost, and the pause that a change makes.

    `labels_cost_<model>`: from 10 labels to 10 000. `group_all_cost_<model>`: time a frame takes with 1 000 labels in
    one group, over that with 1 000 in none. `label_change_stall_s_<model>`: by how much the longest time between two
    batches of 64 cameras exceeds the usual one, `label_change_batch_s_<model>`, while one label is added to 10 000 and
    put in force, which takes `label_change_s_<model>`. The ViT-B/32's are also there without a model's name. Keys in
    `_cpu` are by CPU time instead of the clock.
    """
    return of_models(quick, lambda bundle: _model(bundle, quick))


def _model(bundle: Bundle, quick: bool) -> dict[str, Any]:
    texts = many_labels(bundle, MANY + 8)
    with tempfile.TemporaryDirectory(prefix="actionwire-bench-") as folder:
        embed_at_random(bundle, texts, Path(folder))
        model = served(bundle, Path(folder))
        try:
            return _cost(model, texts, quick) | _change(model, texts, quick)
        finally:
            model.close()


def _cost(model: Model, texts: tuple[Label, ...], quick: bool) -> dict[str, Any]:
    grouped = many_labels(model.bundle, SOME, group="all")
    sets = {"few": texts[:FEW], "none": texts[:SOME], "all": grouped, "many": texts[:MANY]}  # the last stays in memory
    calls = {}
    for version, (name, some) in enumerate(sets.items()):
        streams = Streams(model, model.embed(LabelSet(some, version)), 1, batch=BATCH)
        streams.open()
        streams.warm_up()
        calls[name] = Call(streams.run, BATCH)
    rates = measure(calls, rounds=7 if quick else 11, seconds=0.4 if quick else 1.5)
    found: dict[str, Any] = {}
    for clock, suffix in (("wall", ""), ("cpu", "_cpu")):
        of = {name: getattr(rate, clock) for name, rate in rates.items()}
        found |= {
            f"labels_cost{suffix}": cost(of["many"], of["few"]).data(),
            f"group_all_cost{suffix}": ratio(of["none"], of["all"]).data(),
        }
    return found


def _change(model: Model, texts: tuple[Label, ...], quick: bool) -> dict[str, Any]:
    streams = Streams(model, model.embed(LabelSet(texts[:MANY], 0)), CAMERAS, batch=BATCH)
    streams.open()
    streams.warm_up()
    stalls, usual, until_in_force = [], [], []
    for version in range(1, 4 if quick else 6):
        usual.append(median(_gaps(streams, 8)))
        longest, seconds = _added(model, streams, LabelSet(texts[: MANY + version], version))
        stalls.append(longest - usual[-1])
        until_in_force.append(seconds)
    return {
        "label_change_stall_s": figure(stalls).data(),
        "label_change_batch_s": figure(usual).data(),
        "label_change_s": figure(until_in_force).data(),
    }


def _added(model: Model, streams: Streams, labels: LabelSet) -> tuple[float, float]:
    """The longest time between two batches until this set is in force, and the time until then."""
    embedded: list[Any] = []
    embedding = threading.Thread(target=lambda: embedded.append(model.embed(labels)), name="embed-labels")
    began = last = time.perf_counter()
    longest = 0.0
    embedding.start()
    while embedding.is_alive():
        streams.run()
        longest, last = max(longest, time.perf_counter() - last), time.perf_counter()
    streams.relabel(embedded[0])
    for _ in range(CAMERAS // BATCH):  # every camera has its first window under the new set
        streams.run()
        longest, last = max(longest, time.perf_counter() - last), time.perf_counter()
    return longest, last - began


def _gaps(streams: Streams, batches: int) -> list[float]:
    gaps = []
    for _ in range(batches):
        began = time.perf_counter()
        streams.run()
        gaps.append(time.perf_counter() - began)
    return gaps
