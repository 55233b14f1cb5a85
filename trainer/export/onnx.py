"""A model as ONNX files, each compared with torch as soon as it is written.

`image.onnx` takes uint8 [n, H, W, 3] and normalises inside, that of a causal tower also the buffers that the frame
before left; `head.onnx` takes windows of items. A tower that looks at windows as a whole becomes `clip.onnx`, which
takes those, uint8 [n, T, H, W, 3]. `text.onnx` takes token ids. The forms
are in `engines.bundle.manifest`; the leading dimension is free, from 1 to 256.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx_ir
import torch
import torch.nn.functional as F
from onnx_ir.passes.common import ClearMetadataAndDocStringPass
from torch import Tensor, nn

from engines.backends.network import memory_input
from engines.bundle.arrays import Golden
from engines.bundle.manifest import WORDS_FILE
from trainer.errors import ExportError, ParityError
from trainer.export.batch_leading import batch_leading_attention, lead_products
from trainer.models.text.context import ClassContext
from trainer.models.text.words import Words
from trainer.models.video_text import Clip, VideoTextModel

OPSET = 20
TOLERANCE = 1e-4
"""Greatest difference of one component after L2 normalisation (float32 gives about 1e-6)."""

LARGEST_BATCH = 256
LARGEST_BYTES = 2**31 - 2**24
"""Weights that one ONNX file may hold: a protobuf message holds 2 GiB, and the graph takes a little of it."""


class _Image(nn.Module):
    def __init__(self, model: VideoTextModel):
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model.encode_frames(images)


class _Step(nn.Module):
    def __init__(self, model: VideoTextModel):
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, memory: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        items, after = self.model.step(images, memory)
        return items, *after


class _Head(nn.Module):
    def __init__(self, model: VideoTextModel):
        super().__init__()
        self.head = model.head

    def forward(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        return F.normalize(self.head(windows), dim=-1), F.normalize(windows.mean(dim=1), dim=-1)


class _Clip(nn.Module):
    def __init__(self, model: VideoTextModel):
        super().__init__()
        self.model = model

    def forward(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        return self.model.embed_windows(self.model.window_items(windows))


class _Text(nn.Module):
    def __init__(self, model: VideoTextModel):
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor) -> Tensor:
        context = self.model.context
        if isinstance(context, ClassContext):  # what it knows of names travels beside the network
            return F.normalize(context.plainly(self.model.clip, tokens), dim=-1)
        return self.model.encode_text(tokens)


def write_networks(
    model: VideoTextModel, golden: Golden, directory: Path, *, progress: Callable[[str], None] = lambda step: None
) -> dict[str, float]:
    """Write image.onnx and head.onnx, or clip.onnx, and text.onnx; return the greatest difference of each from torch.

    model: in eval mode, on the CPU. golden: the probe of this model; its inputs and answers are what is compared.
    Raises ExportError before anything is written when a tower is too large for one file, ParityError naming the
    network, the difference and the limit.
    """
    _check_sizes(model)
    differences = {}
    for one in _networks(model, golden):
        progress(f"writing {one.name}")
        path, memory = directory / one.name, one.memory
        write_network(one.network.eval(), one.example, path, given=one.given, returned=one.returned, memory=memory)
        differences[one.name] = check_parity(path, one.example.numpy(), one.expected, memory)
    return differences


@dataclass(frozen=True)
class _Written:
    """A network on its way into a file."""

    name: str
    network: nn.Module
    example: Tensor
    given: str
    returned: tuple[str, ...]
    """Names of its input, and of what it gives."""
    expected: Sequence[npt.NDArray[np.float32]]
    """What it must give for the example."""
    memory: tuple[Tensor, ...] = ()
    """With the example, the buffers of a causal tower."""


def _networks(model: VideoTextModel, golden: Golden) -> tuple[_Written, ...]:
    windows, answers = torch.from_numpy(golden.windows), [golden.head, golden.pooled]
    tokens, said = model.tokens(golden.texts), [golden.text_embeddings]
    text = _Written("text.onnx", _Text(model), tokens, "tokens", ("embedding",), said)
    if model.kind == "clip":
        return _Written("clip.onnx", _Clip(model), windows, "windows", ("head", "pooled"), answers), text
    head = _Written("head.onnx", _Head(model), windows, "windows", ("head", "pooled"), answers)
    return (_step(model, golden) if model.history else _image(model, golden)), head, text


def _image(model: VideoTextModel, golden: Golden) -> _Written:
    probe, items = torch.from_numpy(golden.images), [golden.items.astype(np.float32)]
    return _Written("image.onnx", _Image(model), probe, "images", ("embeddings",), items)


def _step(model: VideoTextModel, golden: Golden) -> _Written:
    """The image network of a causal tower; its example is each picture of the probe with the buffers before it."""
    pictures = torch.from_numpy(golden.images)
    before = _buffers(model, pictures)
    memory = tuple(torch.cat(buffers) for buffers in zip(*before, strict=True))
    with torch.no_grad():
        items, after = model.step(pictures, memory)
    outputs = ("embeddings", *(f"{memory_input(index)}_after" for index in range(len(memory))))
    expected = [items.numpy(), *(buffer.numpy() for buffer in after)]
    return _Written("image.onnx", _Step(model), pictures, "images", outputs, expected, memory)


@torch.no_grad()
def _buffers(model: VideoTextModel, pictures: Tensor) -> list[tuple[Tensor, ...]]:
    """Of pictures [k, H, W, 3] of one stream from its start, the buffers that each one meets."""
    found = [model.memory(1)]
    for picture in pictures[:-1]:
        found.append(model.step(picture[None], found[-1])[1])
    return found


def write_words(model: VideoTextModel, texts: Sequence[str], directory: Path) -> float:
    """Write words.onnx, and return its greatest difference from torch for these texts.

    Raises RecipeError for a text tower that has no words, ParityError.
    """
    network, tokens, path = Words(model).eval(), model.tokens(texts), directory / WORDS_FILE
    with torch.no_grad():
        expected = network(tokens).numpy()
    write_network(network, tokens, path, given="tokens", returned=("words",))
    return check_parity(path, tokens.numpy(), [expected])


def write_network(
    network: nn.Module, example: Tensor, path: Path, *, given: str, returned: Sequence[str],
    memory: tuple[Tensor, ...] = (),
) -> None:  # fmt: skip
    """Write a network of one input, and of buffers where it takes some, as one ONNX file.

    Its first dimension is free. given: the name of the input.
    """
    batch = torch.export.Dim("n", min=1, max=LARGEST_BATCH)
    # The exporter would take a batch of one for a constant.
    example = example if len(example) > 1 else example.repeat(2, *(1 for _ in example.shape[1:]))
    free = {0: batch}
    with _quiet(), torch.no_grad(), batch_leading_attention():
        program = torch.onnx.export(
            network,
            (example, memory) if memory else (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[given, *map(memory_input, range(len(memory)))],
            output_names=list(returned),
            dynamic_shapes=(free, (free,) * len(memory)) if memory else (free,),
            verbose=False,
        )
        assert program is not None  # the older exporter returns nothing
        # The exporter names values after operators, and `embedding` is one; names of values must be unique.
        outputs = {id(value) for value in program.model.graph.outputs}
        for node in program.model.graph:
            for value in node.outputs:
                if value.name in returned and id(value) not in outputs:
                    value.name = f"{value.name}_inside"
        lead_products(program.model)
        # The exporter writes its own stack, with the paths of this machine, to every node.
        ClearMetadataAndDocStringPass()(program.model)
        # The program's own `save` would write the weights of a large tower beside the file; a bundle cannot hold that.
        onnx_ir.save(program.model, path)


def _check_sizes(model: VideoTextModel) -> None:
    image = _bytes(model.clip.visual)
    for tower, size in (("image", image), ("text", _bytes(model.clip) - image)):
        if size > LARGEST_BYTES:
            raise ExportError(
                f"the {tower} tower takes {size / 2**30:.2f} GiB, and one ONNX file holds less than 2 GiB; choose a "
                "smaller model"
            )


def _bytes(module: nn.Module | Clip) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in (*module.parameters(), *module.buffers()))


def check_parity(
    path: Path, given: npt.NDArray[np.generic], expected: Sequence[npt.NDArray[np.float32]],
    memory: Sequence[Tensor] = (),
) -> float:  # fmt: skip
    """Run an ONNX file over a batch and over its first element, and return the greatest difference from `expected`.

    memory: the buffers that it takes beside its input. Components are compared after L2 normalisation. Raises
    ParityError above `TOLERANCE`.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    fed = {session.get_inputs()[0].name: given}
    fed |= {memory_input(index): buffer.numpy() for index, buffer in enumerate(memory)}
    difference = 0.0
    for count in (len(given), 1):
        for found, wanted in zip(
            session.run(None, {name: array[:count] for name, array in fed.items()}), expected, strict=True
        ):
            gap = np.abs(_normalised(found) - _normalised(wanted[:count])).max()
            difference = max(difference, float(gap) if np.isfinite(gap) else np.inf)
    if difference > TOLERANCE:
        raise ParityError(
            f"{path.name} differs from torch by {difference:.2g} after normalisation, {TOLERANCE:g} is allowed; "
            f"the exporter does not support this architecture: try another version of torch, or another model"
        )
    return difference


def golden_probe(
    model: VideoTextModel, height: int, width: int, texts: Sequence[str], *, seed: int = 0, images: int = 4
) -> Golden:
    """The probe of a bundle: seeded pictures, windows of their items and texts, with torch's answers."""
    rng = np.random.default_rng(seed)
    pictures = np.stack([_picture(rng, height, width) for _ in range(images)])
    with torch.no_grad():
        given = torch.from_numpy(pictures)
        items = given if model.kind == "clip" else _probed(model, given)
        order = np.stack([rng.permutation(np.arange(model.frames) % images) for _ in range(2)])
        windows = items[torch.from_numpy(order)]
        head, pooled = model.embed_windows(model.window_items(windows) if model.kind == "clip" else windows)
        text_embeddings = model.encode_text(model.tokens(texts))
    return Golden(
        images=pictures,
        items=items.numpy(),
        windows=windows.numpy(),
        head=head.numpy(),
        pooled=pooled.numpy(),
        texts=tuple(texts),
        text_embeddings=text_embeddings.numpy(),
    )


def _probed(model: VideoTextModel, pictures: Tensor) -> Tensor:
    """The items of the probe's pictures [k, H, W, 3]; to a causal tower they are the first frames of one stream."""
    if not model.history:
        return model.encode_frames(pictures)
    before = _buffers(model, pictures)
    return torch.cat([model.step(one[None], buffers)[0] for one, buffers in zip(pictures, before, strict=True)])


def _picture(rng: np.random.Generator, height: int, width: int) -> npt.NDArray[np.uint8]:
    """A colour gradient with a rectangle and noise: smooth parts, edges and texture."""
    down, across = np.linspace(0, 1, height)[:, None, None], np.linspace(0, 1, width)[None, :, None]
    picture = 255 * (rng.random(3) * down + rng.random(3) * across) / 2
    top, left = rng.integers(height // 2), rng.integers(width // 2)
    picture[top : top + height // 3, left : left + width // 3] = 255 * rng.random(3)
    return np.clip(picture + rng.normal(0, 12, picture.shape), 0, 255).astype(np.uint8)


def _normalised(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    # A patch may leave nothing in a buffer.
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's chatter about its own internals off the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
