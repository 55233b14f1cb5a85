"""What a bundle's text tower says at each word of a text, for scoring by saliency. No torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from engines.backends.network import Network, normalise
from engines.backends.ort import open_network
from engines.bundle.files import Bundle
from engines.bundle.manifest import WORDS_FILE
from engines.canonical import spaced
from engines.errors import ProbeFailed
from engines.text.label_tokenizer import LabelTokenizer

Floats = npt.NDArray[np.float32]


class WordEncoder:
    """The words of texts, those of the last set kept. Used by one thread at a time; close it when done.

    The network is opened when a text is new. It is probed by what it shares with text.onnx: at one of its tokens, a
    text is what text.onnx says of the whole.
    """

    def __init__(self, bundle: Bundle, *, threads: int | None = None) -> None:
        """Open and probe. threads: texts at once, by default the CPUs that this process may use.

        Raises BundleError for a network that does not load, ProbeFailed where it is of another model.
        """
        self._bundle, self._threads = bundle, threads
        self._tokenizer = LabelTokenizer(bundle)
        self._known: dict[str, Floats] = {}
        self._network: Network | None = None
        self._probe()
        self.close()

    def words(self, texts: Sequence[str]) -> list[Floats]:
        """Return of each text, taken as it is, its words, float32 [K, D], L2-normalised; K >= 1 differs.

        Raises TextError for what is not text.
        """
        found = {text: self._known[text] if text in self._known else self._words(text) for text in map(spaced, texts)}
        self._known = found
        return [found[spaced(text)] for text in texts]

    def close(self) -> None:
        """Release the network; the next text that is new opens it again."""
        if self._network is not None:
            self._network.close()
            self._network = None

    def _words(self, text: str) -> Floats:
        encoding = self._tokenizer.encode(text)
        used = np.array(encoding.special_tokens_mask) == 0
        used &= np.array(encoding.attention_mask) == 1
        # A text of marks that the tokenizer drops has no word: it stands for itself, as a whole.
        return normalise(self._said(encoding.ids)[used if used.any() else np.array(encoding.attention_mask) == 1])

    def _said(self, ids: Sequence[int]) -> Floats:
        if self._network is None:
            self._network = open_network(self._bundle, WORDS_FILE, self._threads)
        said: Floats = self._network.run(np.array([ids], np.int64))[0][0]
        return said

    def _probe(self) -> None:
        golden, allowed = self._bundle.golden(), self._bundle.manifest.tolerance.text
        for text, whole in zip(golden.texts, golden.text_embeddings, strict=True):
            said = normalise(self._said(self._tokenizer.encode(text).ids))
            difference = float(np.abs(said - whole).max(axis=-1).min()) if said.shape[1:] == whole.shape else np.inf
            if not difference <= allowed:
                raise ProbeFailed(
                    f"bundle {self._bundle.label}: {WORDS_FILE} is {difference:.2g} off the golden probe, "
                    f"{allowed:.2g} is allowed; export the bundle again"
                )
