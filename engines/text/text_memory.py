"""The label texts in use, kept in memory: a changed label set looks up only the texts that are new in it.

    10 000 labels, one added    memory 10 000    disk or network 1

Above the manifest's `per_template_limit` a text is one averaged embedding: 2 KiB at 512 dimensions, not 16 times that.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from engines.bundle.files import Bundle
from engines.canonical import spaced
from engines.text.text_bank import LabelText, TextBank, TextEncoder, average, bank_of, label_text


class TextMemory:
    """Banks of label texts, one set after another. Thread-safe; one set at a time."""

    def __init__(
        self,
        bundle: Bundle,
        *,
        cache: Path | None = None,
        threads: int | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """cache and threads: see `TextEncoder`. Raises BundleError for a tokenizer that does not load."""
        self._manifest, self._references = bundle.manifest, bundle.references()
        self._encoder = TextEncoder(bundle, cache=cache, threads=threads)
        self._reference_averages = average(self._references.embeddings)
        self._texts: dict[str, LabelText] = {}
        self._monotonic = monotonic
        self._used_at = monotonic()
        self._busy = threading.Lock()

    def bank(self, labels: Sequence[str], over: Callable[[Sequence[str]], Iterable[str]] = iter) -> TextBank:
        """Return the bank of these label texts, and remember them in place of those of the bank before.

        over: yields the texts again, one by one, for whoever wants to see how far it is; what it raises is raised.
        Raises what `TextEncoder.bank` raises.
        """
        score = self._manifest.score
        per_template = len(labels) <= score.per_template_limit
        with self._busy:
            texts: dict[str, LabelText] = {}
            for label in over(labels):
                text = spaced(label)
                known = texts.get(text) or self._texts.get(text)
                if known is None or (per_template and known.templates is None):
                    known = self._look_up(label, per_template=per_template)
                texts[text] = known
            self._texts = texts
        return bank_of(
            self._manifest.space.id, labels, [texts[spaced(label)] for label in labels], self._references, score
        )

    def prove(self) -> None:
        """See `TextEncoder.prove`; a network that had to be opened for it stays open until it `rest`s."""
        with self._busy:
            self._encoder.prove()
            self._used_at = self._monotonic()

    def rest(self, seconds: float) -> None:
        """Release the text network if no text was looked up for so long; a text that is new opens it again."""
        if self._encoder.opened and self._monotonic() - self._used_at >= seconds and self._busy.acquire(blocking=False):
            try:
                self._encoder.close()
            finally:
                self._busy.release()

    def close(self) -> None:
        """Release the text network."""
        with self._busy:
            self._encoder.close()

    def _look_up(self, label: str, *, per_template: bool) -> LabelText:
        (embeddings,) = self._encoder.embed_labels([label])
        self._used_at = self._monotonic()
        return label_text(embeddings, self._reference_averages, self._manifest.score, per_template=per_template)
