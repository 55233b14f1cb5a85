"""Labels and templates -> text embeddings, and the bank that scoring compares windows with. No torch.

Texts are embedded one at a time, so the embedding of a label never depends on the other labels. Embeddings are cached
on disk by embedding space, template set and text, so a host embeds each text once.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engines.backends.network import Network, normalise
from engines.backends.ort import open_network
from engines.bundle.arrays import References
from engines.bundle.files import Bundle
from engines.bundle.manifest import Score
from engines.canonical import canonical_json, spaced
from engines.errors import BundleError, ProbeFailed
from engines.text.label_tokenizer import LabelTokenizer

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TextBank:
    """The texts that windows are compared with. Everything is L2-normalised.

    Q is P, the number of templates. Above the manifest's `per_template_limit` labels it is 1, and the templates of a
    text are averaged.
    """

    space: str
    """Id of the embedding space; the bank works with engines of the same space only."""
    labels: tuple[str, ...]
    """The label texts, L, in the given order."""
    embeddings: Floats
    """float32 [L, Q, D]."""
    references: tuple[str, ...]
    """The reference texts, R, that every label competes with."""
    reference_embeddings: Floats
    """float32 [R, Q, D]; a background text takes no template, so its Q embeddings are equal."""
    left_out: npt.NDArray[np.bool_]
    """bool [L, R]: True where the reference is a synonym of the label and must not compete with it."""


def assemble(space: str, labels: Sequence[str], embeddings: Floats, references: References, score: Score) -> TextBank:
    """Return the bank of `labels` with their per-template embeddings [L, P, D]. Pure.

    A reference is left out for a label when the cosine of their averaged embeddings is above `score.synonym`.
    """
    averaged, reference_averaged = average(embeddings), average(references.embeddings)
    left_out = np.zeros((len(labels), len(references.texts)), np.bool_)
    for index, label in enumerate(averaged):
        # Not one matrix product over all labels, whose last bits may change with their number.
        left_out[index] = np.sum(reference_averaged * label, axis=-1) > np.float32(score.synonym)
    per_template = len(labels) <= score.per_template_limit
    return TextBank(
        space=space,
        labels=tuple(labels),
        embeddings=embeddings if per_template else averaged[:, None, :],
        references=references.texts,
        reference_embeddings=references.embeddings if per_template else reference_averaged[:, None, :],
        left_out=left_out,
    )


def average(embeddings: Floats) -> Floats:
    """Return one embedding per text: the templates' normalised embeddings [L, P, D] summed and normalised, [L, D]."""
    total = np.zeros((embeddings.shape[0], embeddings.shape[2]), np.float32)
    for template in range(embeddings.shape[1]):
        total += embeddings[:, template]
    return normalise(total)


class TextEncoder:
    """A bundle's text network and tokenizer. Used by one thread at a time; close it when done."""

    def __init__(self, bundle: Bundle, *, cache: Path | None = None, threads: int | None = None) -> None:
        """Load the text network and run the golden probe on it.

        cache: folder for embeddings, created when missing, shared by bundles and processes; None caches nothing.
        threads: texts embedded at once, by default the CPUs this process may use.
        Raises BundleError for a network or tokenizer that does not load, ProbeFailed when the outputs differ.
        """
        self._bundle = bundle
        self._manifest = bundle.manifest
        self._references = bundle.references()
        self._cache = cache / "texts" / bundle.manifest.space.id if cache else None
        self._tokenizer = LabelTokenizer(bundle)
        self._network: Network = open_network(bundle, "text.onnx", threads)
        self.probe()

    def bank(self, labels: Sequence[str]) -> TextBank:
        """Return the bank of these label texts; leading, trailing and repeated spaces do not count.

        Raises TextError naming the label that is empty, too long or not text, or the words that the bundle does not
        know.
        """
        return self.bank_of(labels, self.embed_labels(labels))

    def bank_of(self, labels: Sequence[str], embeddings: Floats) -> TextBank:
        """Return the bank of label texts whose embeddings [L, P, D], as from `embed_labels`, are known."""
        return assemble(self._manifest.space.id, labels, embeddings, self._references, self._manifest.score)

    def embed_labels(self, labels: Sequence[str]) -> Floats:
        """Return the per-template embeddings float32 [L, P, D], normalised. Raises TextError like `bank`."""
        templates = self._manifest.score.templates
        embeddings = np.zeros((len(labels), len(templates), self._manifest.space.dimensions), np.float32)
        for index, label in enumerate(labels):
            embeddings[index] = self._label(label, templates)
        return embeddings

    def embed(self, texts: Sequence[str]) -> Floats:
        """Return the embeddings float32 [n, D], normalised, of n >= 1 texts as they are.

        There is no template and no cache, and a text that is too long is truncated.

        Raises TextError for what is not text.
        """
        return self._run([self._tokenizer.encode(text).ids for text in texts])

    def probe(self) -> float:
        """Return the greatest difference from the golden text embeddings. Raises ProbeFailed above the tolerance."""
        golden = self._bundle.golden()
        found, allowed = self.embed(golden.texts), self._manifest.tolerance.text
        same_shape = found.shape == golden.text_embeddings.shape
        difference = float(np.max(np.abs(found - golden.text_embeddings))) if same_shape else float("inf")
        if not difference <= allowed:
            raise ProbeFailed(
                f"bundle {self._bundle.label}: text is {difference:.2g} off the golden probe, {allowed:.2g} is "
                "allowed; export the bundle again"
            )
        return difference

    def close(self) -> None:
        """Release the text network."""
        self._network.close()

    def _label(self, label: str, templates: tuple[str, ...]) -> Floats:
        encodings = self._tokenizer.label(label)  # before the cache: it may hold what an older version let pass
        kept = self._cache_file(spaced(label), templates)
        shape = (len(templates), self._manifest.space.dimensions)
        if kept and (found := _read_cached(kept, shape)) is not None:
            return found
        embeddings = self._run([encoding.ids for encoding in encodings])
        if kept:
            _write_cached(kept, embeddings)
        return embeddings

    def _cache_file(self, text: str, templates: tuple[str, ...]) -> Path | None:
        key = hashlib.sha256(canonical_json([templates, text])).hexdigest()
        return self._cache / f"{key}.npy" if self._cache else None

    def _run(self, ids: Sequence[Sequence[int]]) -> Floats:
        length = self._manifest.text.context_length
        if wrong := next((len(row) for row in ids if len(row) != length), None):
            raise BundleError(
                f"{self._bundle.path / 'tokenizer.json'} gives {wrong} tokens, text.onnx takes {length}; "
                "export the bundle again"
            )
        return normalise(self._network.run(np.array(ids, np.int64))[0])


def _read_cached(path: Path, shape: tuple[int, int]) -> Floats | None:
    """Return the embeddings in `path`; None when there are none or a crash left half a file."""
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    fits = found.shape == shape and found.dtype == np.float32 and bool(np.isfinite(found).all())
    return found if fits else None


def _write_cached(path: Path, embeddings: Floats) -> None:
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            np.save(file, embeddings, allow_pickle=False)
        temporary.replace(path)
    except OSError:
        # A full disk or a read-only home costs time at the next start, but no result now.
        with contextlib.suppress(OSError):
            temporary.unlink()
