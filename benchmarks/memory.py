"""What a camera takes of a worker's memory, while it is watched and while a restart reads its frames again."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Any

from models import of_models, served

from engines.bundle.files import Bundle
from pipeline.analysis.label_set import LabelSet
from pipeline.bench.many_labels import many_labels
from pipeline.bench.streams import Streams
from pipeline.worker.model import Model

FEW, MANY = 8, 40
LABELS = 10
BATCH = 8
REWIND_SECONDS = 20


def memory(*, quick: bool) -> dict[str, Any]:
    """Return, for each model, bytes that every further camera takes: of Python objects and arrays, as allocated.

    `bytes_per_camera_<model>`: watched, its windows full. `bytes_per_camera_warming_<model>`: after 20 s of its frames
    were read again and before the first window is due. The ViT-B/32's are also there without a model's name.
    """
    return of_models(quick, lambda bundle: _model(bundle))


def _model(bundle: Bundle) -> dict[str, Any]:
    model = served(bundle)
    try:
        return {
            f"bytes_per_camera{suffix}": round(
                (_allocated(model, MANY, warming=warming) - _allocated(model, FEW, warming=warming)) / (MANY - FEW)
            )
            for suffix, warming in (("", False), ("_warming", True))
        }
    finally:
        model.close()


def _allocated(model: Model, cameras: int, *, warming: bool) -> int:
    """Bytes that so many cameras take."""
    view = model.embed(LabelSet(many_labels(model.bundle, LABELS), 0))
    rewound = REWIND_SECONDS * model.geometry.rate if warming else 0
    gc.collect()
    tracemalloc.start()
    try:
        streams = Streams(model, view, cameras, batch=BATCH)
        streams.open(rewound=rewound)
        if warming:
            for _ in range(rewound * cameras // BATCH):
                streams.run()
        else:
            streams.warm_up()
            streams.run()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
