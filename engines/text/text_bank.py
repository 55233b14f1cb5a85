"""Labels and templates -> text embeddings, and the bank that scoring compares windows with. No torch.

Texts are embedded one at a time, so the embedding of a label never depends on the other labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engines.backends.host_cache import recall, remember
from engines.backends.network import Network, normalise
from engines.backends.ort import VERSION, open_network
from engines.bundle.arrays import References
from engines.bundle.files import Bundle
from engines.bundle.manifest import Score
from engines.canonical import spaced
from engines.errors import BundleError, ProbeFailed
from engines.text.label_tokenizer import LabelTokenizer
from engines.text.text_cache import TextCache

Floats = npt.NDArray[np.float32]

_DECIDE_THE_PROBE = ("text.onnx", "tokenizer.json", "golden.npz")


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


@dataclass(frozen=True, slots=True, eq=False)
class LabelText:
    """What a bank needs of one label text; it depends on no other."""

    average: Floats
    """float32 [D], over the templates, normalised."""
    left_out: npt.NDArray[np.bool_]
    """bool [R], see `TextBank`."""
    templates: Floats | None
    """float32 [P, D]; None where a bank of many labels has no use for them."""


def label_text(embeddings: Floats, reference_averages: Floats, score: Score, *, per_template: bool) -> LabelText:
    """Return what a bank needs of a label with the embeddings [P, D]. Pure.

    reference_averages: [R, D], as from `average`. A reference is left out for the label when the cosine of their
    averaged embeddings is above `score.synonym`. per_template: keep the embeddings themselves too.
    """
    averaged = average(embeddings[None])[0]
    # Not one matrix product over all labels, whose last bits may change with their number.
    left_out = np.sum(reference_averages * averaged, axis=-1) > np.float32(score.synonym)
    return LabelText(averaged, left_out, embeddings if per_template else None)


def bank_of(
    space: str, labels: Sequence[str], texts: Sequence[LabelText], references: References, score: Score
) -> TextBank:
    """Return the bank of `labels`, of which `texts` says in the same order what is needed. Pure.

    At most `score.per_template_limit` labels need their embeddings under every template.
    """
    shape = references.embeddings.shape
    if len(labels) <= score.per_template_limit:
        embeddings = [text.templates for text in texts if text.templates is not None]
        reference_embeddings, width = references.embeddings, shape[1]
    else:
        embeddings = [text.average for text in texts]
        reference_embeddings, width = average(references.embeddings)[:, None, :], 1
    return TextBank(
        space=space,
        labels=tuple(labels),
        embeddings=np.array(embeddings, np.float32).reshape(len(labels), width, shape[2]),
        references=references.texts,
        reference_embeddings=reference_embeddings,
        left_out=np.array([text.left_out for text in texts], np.bool_).reshape(len(labels), shape[0]),
    )


def assemble(space: str, labels: Sequence[str], embeddings: Floats, references: References, score: Score) -> TextBank:
    """Return the bank of `labels` with their per-template embeddings [L, P, D]. Pure."""
    averages, per_template = average(references.embeddings), len(labels) <= score.per_template_limit
    texts = [label_text(one, averages, score, per_template=per_template) for one in embeddings]
    return bank_of(space, labels, texts, references, score)


def average(embeddings: Floats) -> Floats:
    """Return one embedding per text: the templates' normalised embeddings [L, P, D] summed and normalised, [L, D]."""
    total = np.zeros((embeddings.shape[0], embeddings.shape[2]), np.float32)
    for template in range(embeddings.shape[1]):
        total += embeddings[:, template]
    return normalise(total)


class TextEncoder:
    """A bundle's text network and tokenizer. Used by one thread at a time; close it when done.

    The network is opened when the first text must be embedded and probed then, so that a process whose texts are all
    in the cache never holds it. `close` releases it, and the next text opens it again. `prove` probes it ahead of that.
    """

    def __init__(self, bundle: Bundle, *, cache: Path | None = None, threads: int | None = None) -> None:
        """Read the tokenizer.

        cache: folder for embeddings, created when missing, shared by bundles and processes; None caches nothing.
        threads: texts embedded at once, by default the CPUs this process may use.
        Raises BundleError for a tokenizer that does not load.
        """
        self._bundle = bundle
        self._manifest = bundle.manifest
        self._references = bundle.references()
        learned = bundle.learned()
        self._learned = dict(zip(learned.texts, learned.embeddings, strict=True)) if learned else {}
        shape = (len(self._manifest.score.templates), self._manifest.space.dimensions)
        self._cache = TextCache(cache, bundle.manifest.space.id, shape) if cache else None
        self._tokenizer = LabelTokenizer(bundle)
        self._threads = threads
        self._network: Network | None = None

    @property
    def opened(self) -> bool:
        """True while the text network is in memory."""
        return self._network is not None

    def bank(self, labels: Sequence[str]) -> TextBank:
        """Return the bank of these label texts; leading, trailing and repeated spaces do not count.

        Raises TextError naming the label that is empty, too long or not text, or the words that the bundle does not
        know; BundleError for a network that does not load, ProbeFailed where it answers otherwise than the export.
        """
        embeddings = self.embed_labels(labels)
        return assemble(self._manifest.space.id, labels, embeddings, self._references, self._manifest.score)

    def embed_labels(self, labels: Sequence[str]) -> Floats:
        """Return the per-template embeddings float32 [L, P, D], normalised. Raises like `bank`."""
        templates = self._manifest.score.templates
        embeddings = np.zeros((len(labels), len(templates), self._manifest.space.dimensions), np.float32)
        for index, label in enumerate(labels):
            embeddings[index] = self._label(label, templates)
        return embeddings

    def embed(self, texts: Sequence[str]) -> Floats:
        """Return the embeddings float32 [n, D], normalised, of n >= 1 texts as they are.

        There is no template and no cache, and a text that is too long is truncated.

        Raises TextError for what is not text, and what opening the network raises (see `bank`).
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

    def prove(self) -> None:
        """See to it that the text network answers its golden probe, before a text needs it.

        Once for each network and host, since that is remembered; then the network stays closed. Raises like `bank`.
        """
        files, allowed = self._manifest.files, self._manifest.tolerance.text
        key = (VERSION, str(allowed), *(files[name] for name in _DECIDE_THE_PROBE))
        if self._network is not None or recall("text-probes", key) is not None:
            return
        self._open()
        remember("text-probes", key, {"allowed": allowed})

    def close(self) -> None:
        """Release the text network."""
        if self._network is not None:
            self._network.close()
            self._network = None

    def _label(self, label: str, templates: tuple[str, ...]) -> Floats:
        encodings = self._tokenizer.label(label)  # before the cache: it may hold what an older version let pass
        text = spaced(label)
        if text in self._learned:
            return np.asarray(self._learned[text])
        if self._cache and (found := self._cache.read(templates, text)) is not None:
            return found
        embeddings = self._run([encoding.ids for encoding in encodings])
        if self._cache:
            self._cache.write(templates, text, embeddings)
        return embeddings

    def _run(self, ids: Sequence[Sequence[int]]) -> Floats:
        length = self._manifest.text.context_length
        if wrong := next((len(row) for row in ids if len(row) != length), None):
            raise BundleError(
                f"{self._bundle.path / 'tokenizer.json'} gives {wrong} tokens, text.onnx takes {length}; "
                "export the bundle again"
            )
        if self._network is None:
            self._open()
        assert self._network is not None
        return normalise(self._network.run(np.array(ids, np.int64))[0])

    def _open(self) -> None:
        self._network = open_network(self._bundle, "text.onnx", self._threads)
        try:
            self.probe()
        except BaseException:
            self.close()
            raise
