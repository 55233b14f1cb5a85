"""A small real bundle for tests: it recognises colours, takes microseconds, and needs no training.

The `onnx` package (extra `dev` or `trainer`) writes its networks; loading the bundle does not need it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from engines.bundle import manifest as parts
from engines.bundle.arrays import Golden, References, write_golden, write_references
from engines.bundle.files import seal, write_draft

Floats = npt.NDArray[np.float32]
Shape = Sequence[str | int]

COLOURS = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "cyan": (0, 255, 255),
    "magenta": (255, 0, 255),
    "white": (255, 255, 255),
    "black": (0, 0, 0),
    "grey": (128, 128, 128),
}
"""The words that a tiny bundle knows, and the RGB of the frame that each one describes."""

_FILLERS = ("a", "an", "the", "of", "person", "frame", "is")
_SPECIAL = ("[PAD]", "[UNK]", "[START]", "[END]")
_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,-'_"
_CONTEXT = 64
_OPSET = 17
_FEATURES = 13
_BIAS = 0.5
_SHIFT_GAIN = 0.5
_BACKGROUND = ("grey", "black", "white")
_ACTIONS = ("red", "green", "blue", "yellow")


def solid(colour: str, *, height: int = 32, width: int = 32) -> npt.NDArray[np.uint8]:
    """Return a frame of one colour, RGB uint8 [height, width, 3], which the text `colour` describes."""
    return np.full((height, width, 3), COLOURS[colour], np.uint8)


def tiny_bundle(
    path: Path,
    *,
    kind: Literal["frame", "clip"] = "frame",
    frames: int = 8,
    rate: int = 4,
    dimensions: int = 16,
    size: int = 32,
    history: int = 0,
    seed: int = 0,
    name: str = "tiny",
    version: str = "0.1.0",
    templates: tuple[str, ...] = ("{}", "video of {}"),
    events: parts.Events | None = None,
    window: dict[str, Any] | None = None,
    rule: Literal["window", "saliency"] = "window",
    head: Literal["weighted-mean", "meanp"] = "weighted-mean",
    sealed: bool = True,
) -> Path:
    """Write a bundle into the new directory `path` and return it; equal arguments give equal bytes.

    A frame's embedding is a fixed linear map (drawn from `seed`) of the mean colours of its four quarters, so a window
    of `solid("red")` frames scores near 1 for the label `red` and near 0 for every other colour of `COLOURS`; grey is
    the quiet picture in between. The head weighs later frames more, or all alike (`meanp`); `pooled` is the plain mean.
    A text embeds as the sum of its colours; other words add little, each its own direction, so different texts differ.

    With `history` an item depends on so many frames before its own as well: a causal shift of an eighth of the channels
    in each of so many layers, which a still picture does not show.

    References: `grey`, `black`, `white` (background) and `red`, `green`, `blue`, `yellow` (action); a label that equals
    one of them leaves it out as a synonym. The softmax runs at scale 20. Event defaults: enter .6, exit .4, confirm 2,
    minimum and merge .5 s, cool-down 1 s, at most 60 s, no lag; pass `events` for others. `window` overrides parts of
    the manifest's window, such as `strides` or `multiples`. `size` is the height and width in pixels, even;
    `dimensions` is at least 13.
    """
    if dimensions < _FEATURES or size % 2:
        raise ValueError(f"a tiny bundle needs dimensions >= {_FEATURES} and an even size, got {dimensions} and {size}")
    path.mkdir(parents=True)
    random = np.random.default_rng(seed)
    projection = np.linalg.qr(random.normal(size=(dimensions, dimensions)))[0][:_FEATURES].astype(np.float32)
    weights = np.linspace(1, 1 if head == "meanp" else 2, frames, dtype=np.float32)
    weights /= weights.sum()
    words = _words(projection, random)

    networks = {"image.onnx": _image(projection, size, history), "head.onnx": _head(weights, dimensions)}
    if kind == "clip":
        networks = {"clip.onnx": _clip(projection, weights, size)}
    for file, network in (networks | {"text.onnx": _text(words)}).items():
        (path / file).write_bytes(network)
    (path / "tokenizer.json").write_text(_tokenizer(), encoding="utf-8")
    write_golden(path, _golden(kind, projection, weights, words, size, history, random))
    write_references(path, _references(words, templates))
    manifest = _manifest(kind, frames, rate, dimensions, size, seed, name, version, templates, events, window, head)
    if rule == "saliency":
        (path / parts.WORDS_FILE).write_bytes(_word_states(words))
        manifest = manifest.model_copy(update={"score": manifest.score.model_copy(update={"rule": rule})})
    if history:
        memory = parts.Memory(history=history, shapes=((dimensions // 8,),) * history)
        manifest = manifest.model_copy(update={"memory": memory})
    write_draft(path, manifest)
    if sealed:
        seal(path)
    return path


def _manifest(
    kind: Literal["frame", "clip"], frames: int, rate: int, dimensions: int, size: int, seed: int, name: str,
    version: str, templates: tuple[str, ...], events: parts.Events | None, window: dict[str, Any] | None, head: str,
) -> parts.Manifest:  # fmt: skip
    defaults = parts.EventSettings(
        enter=0.6, exit=0.4, confirm=2, min_seconds=0.5, merge_seconds=0.5, cooldown_seconds=1.0, max_seconds=60.0
    )
    return parts.Manifest(
        name=name,
        version=version,
        kind=kind,
        encoder=parts.Encoder(architecture="colours", parameters=_FEATURES * dimensions),
        head=parts.Head(architecture=head, parameters=frames),
        input=parts.Input(height=size, width=size, resize="area", crop="squash", mean=(0.5,) * 3, std=(1.0,) * 3),
        window=parts.Window(**({"frames": frames, "rate": rate} | (window or {}))),
        space=parts.Space(dimensions=dimensions),
        score=parts.Score(logit_scale=20.0, templates=templates),
        text=parts.Text(context_length=_CONTEXT),
        events=events or parts.Events(defaults=defaults, calibrated=True),
        opset=_OPSET,
        producer=parts.Producer(actionwire="testing", recipe="tiny", seed=seed),
        licence="project",
    )


# --- the same arithmetic in numpy, for the golden probe and the references ---


def _features(images: npt.NDArray[np.uint8]) -> Floats:
    count, height, width, _ = images.shape
    quarters = images.reshape(count, 2, height // 2, 2, width // 2, 3).astype(np.float64).mean(axis=(2, 4))
    centred = quarters.reshape(count, 12) / 255 - 0.5
    return np.concatenate([centred, np.full((count, 1), _BIAS)], axis=1).astype(np.float32)


def _normalise(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), np.float32)


def _vocabulary() -> list[str]:
    continued = [f"##{character}" for character in _CHARACTERS]
    return [*_SPECIAL, *COLOURS, *_FILLERS, *(c for c in _CHARACTERS if c not in _FILLERS), *continued]


def _words(projection: Floats, random: np.random.Generator) -> Floats:
    """Return one vector per vocabulary entry: its frame for a colour, zero for a filler, small for a character."""
    vocabulary = _vocabulary()
    words = random.normal(0, 0.05, (len(vocabulary), projection.shape[1])).astype(np.float32)
    for index, word in enumerate(vocabulary):
        if word in COLOURS:
            words[index] = (_features(solid(word, height=2, width=2)[None]) @ projection)[0]
        elif word in (*_FILLERS, "[PAD]", "[START]"):
            words[index] = 0
    return words


def _embed_texts(words: Floats, texts: list[str]) -> Floats:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(_tokenizer())
    ids = np.array([encoding.ids for encoding in tokenizer.encode_batch(texts)])
    return _normalise(words[ids].sum(axis=1))


def _shifted(states: Floats, history: int) -> Floats:
    """The items of one stream from its start, [n, D] to the same."""
    fold = states.shape[1] // 8
    for _ in range(history):
        before = np.concatenate([np.zeros_like(states[:1, :fold]), states[:-1, :fold]])
        moved = np.concatenate([before, states[:, fold:]], axis=1)
        states = (states + np.float32(_SHIFT_GAIN) * moved).astype(np.float32)
    return states


def _golden(
    kind: str, projection: Floats, weights: Floats, words: Floats, size: int, history: int,
    random: np.random.Generator,
) -> Golden:  # fmt: skip
    frames = len(weights)
    images = random.integers(0, 256, (frames + 2, size, size, 3), np.uint8)
    images[::2] = images[::2] // 4 + np.array(COLOURS["red"], np.uint8) // 2
    embeddings = _shifted((_features(images) @ projection).astype(np.float32), history)
    order = [np.arange(start, start + frames) for start in range(3)]
    windows = np.stack([embeddings[index] for index in order])
    texts = ["red", "a person is blue", "Something else, said at length " * 4]
    clip = kind == "clip"
    return Golden(
        images=images,
        items=images if clip else embeddings,
        windows=np.stack([images[index] for index in order]) if clip else windows,
        head=_normalise(np.einsum("mtd,t->md", windows, weights).astype(np.float32)),
        pooled=_normalise(windows.mean(axis=1)),
        texts=tuple(texts),
        text_embeddings=_embed_texts(words, texts),
    )


def _references(words: Floats, templates: tuple[str, ...]) -> References:
    background = [np.repeat(_embed_texts(words, [text]), len(templates), axis=0) for text in _BACKGROUND]
    actions = [_embed_texts(words, [template.replace("{}", text) for template in templates]) for text in _ACTIONS]
    kinds = ("background",) * len(_BACKGROUND) + ("action",) * len(_ACTIONS)
    return References(_BACKGROUND + _ACTIONS, kinds, np.stack(background + actions))


def _tokenizer() -> str:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    vocabulary = {word: index for index, word in enumerate(_vocabulary())}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=64))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    start, end = vocabulary["[START]"], vocabulary["[END]"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[START] $A [END]", special_tokens=[("[START]", start), ("[END]", end)]
    )
    tokenizer.enable_truncation(_CONTEXT)
    tokenizer.enable_padding(length=_CONTEXT, pad_id=0, pad_token="[PAD]")
    return str(tokenizer.to_str())


# --- the networks ---


def _encode_nodes(nodes: list[Any], weights: dict[str, npt.NDArray[Any]], projection: Floats, size: int) -> None:
    """Append pixels "images" uint8 [n, H, W, 3] -> "embeddings" float32 [n, D]."""
    from onnx import TensorProto, helper

    half, dimensions = size // 2, projection.shape[1]
    weights |= {
        "quarters": np.array([-1, 2, half, 2, half, 3]),
        "flat": np.array([-1, 12]),
        "scale": np.array(1 / 255, np.float32),
        "mean": np.array(0.5, np.float32),
        "projection": projection[:12],
        "bias": (_BIAS * projection[12]).reshape(1, dimensions),
    }
    nodes += [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["floats", "scale"], ["scaled"]),
        helper.make_node("Sub", ["scaled", "mean"], ["centred"]),
        helper.make_node("Reshape", ["centred", "quarters"], ["regions"]),
        helper.make_node("ReduceMean", ["regions"], ["means"], axes=[2, 4], keepdims=0),
        helper.make_node("Reshape", ["means", "flat"], ["features"]),
        helper.make_node("MatMul", ["features", "projection"], ["projected"]),
        helper.make_node("Add", ["projected", "bias"], ["embeddings"]),
    ]


def _head_nodes(nodes: list[Any], weights: dict[str, npt.NDArray[Any]], times: Floats) -> None:
    """Append "items" float32 [m, T, D] -> "head" and "pooled", float32 [m, D]."""
    from onnx import helper

    weights["times"] = times.reshape(1, -1, 1)
    nodes += [
        helper.make_node("Mul", ["items", "times"], ["weighted"]),
        helper.make_node("ReduceSum", ["weighted", "axis"], ["weighted_sum"], keepdims=0),
        helper.make_node("ReduceMean", ["items"], ["plain_mean"], axes=[1], keepdims=0),
    ]
    weights["axis"] = np.array([1])
    _normalise_node(nodes, "weighted_sum", "head")
    _normalise_node(nodes, "plain_mean", "pooled")


def _normalise_node(nodes: list[Any], source: str, target: str) -> None:
    from onnx import helper

    nodes += [
        helper.make_node("ReduceL2", [source], [f"{target}_length"], axes=[-1], keepdims=1),
        helper.make_node("Div", [source, f"{target}_length"], [target]),
    ]


def _image(projection: Floats, size: int, history: int) -> bytes:
    from onnx import helper

    nodes: list[Any] = []
    weights: dict[str, npt.NDArray[Any]] = {}
    _encode_nodes(nodes, weights, projection, size)
    dimensions, fold = projection.shape[1], projection.shape[1] // 8
    sources: list[tuple[str, type[np.generic], Shape]] = [("images", np.uint8, ["n", size, size, 3])]
    targets: list[tuple[str, Shape]] = [("embeddings", ["n", dimensions])]
    if history:
        nodes[-1].output[0] = "state_0"
        weights |= {"fold": np.array([fold, dimensions - fold]), "gain": np.array(_SHIFT_GAIN, np.float32)}
    for layer in range(history):
        memory, after = f"memory_{layer}", f"state_{layer + 1}" if layer + 1 < history else "embeddings"
        nodes += [
            helper.make_node("Split", [f"state_{layer}", "fold"], [f"{memory}_after", f"rest_{layer}"], axis=1),
            helper.make_node("Concat", [memory, f"rest_{layer}"], [f"moved_{layer}"], axis=1),
            helper.make_node("Mul", [f"moved_{layer}", "gain"], [f"added_{layer}"]),
            helper.make_node("Add", [f"state_{layer}", f"added_{layer}"], [after]),
        ]
        sources.append((memory, np.float32, ["n", fold]))
        targets.append((f"{memory}_after", ["n", fold]))
    return _model(nodes, weights, sources, targets)


def _head(times: Floats, dimensions: int) -> bytes:
    from onnx import helper

    nodes: list[Any] = [helper.make_node("Identity", ["windows"], ["items"])]
    weights: dict[str, npt.NDArray[Any]] = {}
    _head_nodes(nodes, weights, times)
    return _model(
        nodes,
        weights,
        [("windows", np.float32, ["m", len(times), dimensions])],
        [("head", ["m", dimensions]), ("pooled", ["m", dimensions])],
    )


def _clip(projection: Floats, times: Floats, size: int) -> bytes:
    from onnx import helper

    frames, dimensions = len(times), projection.shape[1]
    nodes: list[Any] = [helper.make_node("Reshape", ["windows", "as_images"], ["images"])]
    weights: dict[str, npt.NDArray[Any]] = {
        "as_images": np.array([-1, size, size, 3]),
        "as_windows": np.array([-1, frames, dimensions]),
    }
    _encode_nodes(nodes, weights, projection, size)
    nodes.append(helper.make_node("Reshape", ["embeddings", "as_windows"], ["items"]))
    _head_nodes(nodes, weights, times)
    return _model(
        nodes,
        weights,
        [("windows", np.uint8, ["m", frames, size, size, 3])],
        [("head", ["m", dimensions]), ("pooled", ["m", dimensions])],
    )


def _text(words: Floats) -> bytes:
    from onnx import helper

    nodes: list[Any] = [
        helper.make_node("Gather", ["words", "tokens"], ["vectors"], axis=0),
        helper.make_node("ReduceSum", ["vectors", "axis"], ["summed"], keepdims=0),
    ]
    _normalise_node(nodes, "summed", "embedding")
    weights: dict[str, npt.NDArray[Any]] = {"words": words, "axis": np.array([1])}
    return _model(nodes, weights, [("tokens", np.int64, ["n", _CONTEXT])], [("embedding", ["n", words.shape[1]])])


def _word_states(words: Floats) -> bytes:
    """At each token what was said up to there, as a text tower that reads forward: at the last one, the text."""
    from onnx import helper

    nodes: list[Any] = [
        helper.make_node("Gather", ["table", "tokens"], ["vectors"], axis=0),
        helper.make_node("CumSum", ["vectors", "axis"], ["words"]),
    ]
    weights: dict[str, npt.NDArray[Any]] = {"table": words, "axis": np.array(1)}
    return _model(nodes, weights, [("tokens", np.int64, ["n", _CONTEXT])], [("words", ["n", _CONTEXT, words.shape[1]])])


def _model(
    nodes: list[Any],
    weights: dict[str, npt.NDArray[Any]],
    sources: Sequence[tuple[str, type[np.generic], Shape]],
    targets: Sequence[tuple[str, Shape]],
) -> bytes:
    from onnx import TensorProto, checker, helper, numpy_helper

    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(kind)), shape)
            for name, kind, shape in sources
        ],
        [helper.make_tensor_value_info(target, TensorProto.FLOAT, form) for target, form in targets],
        [numpy_helper.from_array(array, key) for key, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8)
    checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))
