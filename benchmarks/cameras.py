"""What many cameras cost, at the same number of frames per second in all."""

from __future__ import annotations

from typing import Any

from models import of_models, served

from engines.bench.rounds import Call, cost, figure, measure
from engines.bundle.files import Bundle
from pipeline.analysis.label_set import LabelSet
from pipeline.bench.many_labels import many_labels
from pipeline.bench.streams import Streams

CAMERAS = (1, 64)
LABELS = 10
BATCH = 8


def cameras(*, quick: bool) -> dict[str, Any]:
    """Return, for each model, the share of frames per second that cameras cost.

    `cameras_cost_<model>`: from 1 camera to 64. The ViT-B/32's are also there without a model's name. Keys in `_cpu`
    are by CPU time instead of the clock.
    """
    return of_models(quick, lambda bundle: _model(bundle, quick))


def _model(bundle: Bundle, quick: bool) -> dict[str, Any]:
    model = served(bundle)
    try:
        view = model.embed(LabelSet(many_labels(bundle, LABELS), 0))
        calls = {}
        for number in CAMERAS:
            streams = Streams(model, view, number, batch=BATCH)
            streams.open()
            streams.warm_up()
            calls[str(number)] = Call(streams.run, BATCH)
        rates = measure(calls, rounds=9 if quick else 11, seconds=0.4 if quick else 1.5)
    finally:
        model.close()
    one, many = (rates[str(number)] for number in CAMERAS)
    return {
        **{f"frames_per_second_{number}_cameras": figure(rates[str(number)].wall).data() for number in CAMERAS},
        "cameras_cost": cost(many.wall, one.wall).data(),
        "cameras_cost_cpu": cost(many.cpu, one.cpu).data(),
    }
