"""What actions that are taught by example cost: of the frames per second, and of memory."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from models import of_models, served

from engines.bench.rounds import Call, cost, measure
from engines.bundle.files import Bundle
from pipeline.analysis.label_set import LabelSet
from pipeline.bench.many_examples import examples_at_random, taught
from pipeline.bench.many_labels import embed_at_random, many_labels
from pipeline.bench.streams import Streams
from pipeline.examples.encoding import ExampleSource

FEW, MANY = 1, 1_000
BATCH = 8


def examples(*, quick: bool) -> dict[str, Any]:
    """Return, for each model, the share of frames per second that 1 000 labels by example cost over one of them.

    `examples_cost_<model>` by the clock, `examples_cost_cpu_<model>` by CPU time; one example each, whose items are
    random. All labels are there both times, so that texts cost the same. `example_bytes_<model>`: of the vectors that
    windows are compared with, for one example.
    """
    return of_models(quick, lambda bundle: _model(bundle, quick))


def _model(bundle: Bundle, quick: bool) -> dict[str, Any]:
    texts = many_labels(bundle, MANY)
    with tempfile.TemporaryDirectory(prefix="actionwire-bench-") as folder:
        embed_at_random(bundle, texts, Path(folder))
        source = ExampleSource(lambda keys: (), Path(folder) / "examples")
        model = served(bundle, Path(folder), examples=source)
        try:
            examples_at_random(model, MANY)
            calls = {}
            for version, count in enumerate((MANY, FEW)):  # the smaller set erases what it does not name
                labels = (*(taught(one, number) for number, one in enumerate(texts[:count])), *texts[count:])
                view = model.embed(LabelSet(labels, version))
                streams = Streams(model, view, 1, batch=BATCH)
                streams.open()
                streams.warm_up()
                calls[count] = Call(streams.run, BATCH)
            rates = measure({str(count): call for count, call in calls.items()}, rounds=7 if quick else 11, seconds=1.0)
            many, few = rates[str(MANY)], rates[str(FEW)]
            info = model.engine.info
            vectors = info.frames if info.compared == "items" else 1
            return {
                "examples_cost": cost(many.wall, few.wall).data(),
                "examples_cost_cpu": cost(many.cpu, few.cpu).data(),
                "example_bytes": vectors * info.dimensions * 4,
            }
        finally:
            model.close()
