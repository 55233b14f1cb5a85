"""Labels by the thousand that a bundle knows the words of, with embeddings that cost nothing.

The embeddings are random directions, put where those of the text network would be kept: to embed ten thousand labels
for real takes a CPU hours, and what comes after costs the same.
"""

from __future__ import annotations

from itertools import islice, product
from pathlib import Path

import numpy as np

from engines.bundle.files import Bundle
from engines.text.text_cache import TextCache
from pipeline.records.labels import Label

MOST = 20_000


def many_labels(bundle: Bundle, count: int, *, group: str | None = None) -> tuple[Label, ...]:
    """The first `count` labels, at most `MOST`, ordered by id; more of them begin with the same ones."""
    words = sorted({word for text in bundle.references().texts for word in text.split() if word.isalpha()})
    repeat = next(repeat for repeat in range(1, 64) if len(words) ** repeat >= MOST)
    texts = (" ".join(some) for some in product(words, repeat=repeat))
    return tuple(Label(f"l{number:06}", text, group) for number, text in enumerate(islice(texts, count)))


def embed_at_random(bundle: Bundle, labels: tuple[Label, ...], cache: Path, *, seed: int = 0) -> None:
    """Put random embeddings of the labels into a cache folder."""
    manifest = bundle.manifest
    templates, dimensions = manifest.score.templates, manifest.space.dimensions
    kept = TextCache(cache, manifest.space.id, (len(templates), dimensions))
    random = np.random.default_rng(seed)
    for label in labels:
        # A text differs little from template to template.
        found = random.standard_normal(dimensions) + 0.1 * random.standard_normal((len(templates), dimensions))
        kept.write(templates, label.text, (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32))
