"""The manifest of a bundle, `bundle.json`: everything that a deployment must know about a model, as frozen values."""

from __future__ import annotations

import hashlib
import math
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from engines.canonical import canonical_json
from engines.errors import BundleError, IncompatibleBundle
from engines.strict_json import parse_json, short

SCHEMA = 1
DRAFT = "draft"
"""Id of a bundle that has not been sealed."""

MANIFEST_FILE = "bundle.json"
NETWORKS = {"frame": ("image.onnx", "head.onnx"), "clip": ("clip.onnx",)}
SHARED_FILES = ("text.onnx", "tokenizer.json", "golden.npz", "references.npz")
LEARNED_FILE = "learned.npz"
WORDS_FILE = "words.onnx"
"""What the text tower says at each token, where `score.rule` is saliency: "tokens" int64 [n, context_length] -> "words"
float32 [n, context_length, D], not normalised."""

Unit = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(pattern="^[a-z0-9][a-z0-9._-]*$")]
Version = Annotated[str, Field(pattern="^[0-9A-Za-z][0-9A-Za-z._+-]*$")]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Channels = tuple[float, float, float]

_MOST_REMEMBERED = 2**24


class Part(BaseModel):
    """Base of all parts: immutable, nothing unknown, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)


class Encoder(Part):
    """The image tower."""

    architecture: str
    pretrained: str | None = None
    parameters: int = Field(ge=0)


class Head(Part):
    """The temporal head: `meanp`, `transf`, ..."""

    architecture: str
    parameters: int = Field(ge=0)


class Input(Part):
    """How pixels reach the network. `mean` and `std` are for information: the ONNX graph applies them."""

    height: Positive
    width: Positive
    resize: Literal["area", "bicubic", "bilinear"]
    crop: Literal["squash", "centre"]
    mean: Channels
    std: Channels


class Window(Part):
    """T frames at `rate` frames/s, a window every `stride` ticks. Overload may use `strides` and `multiples`."""

    frames: Positive
    rate: Positive
    stride: Positive = 1
    strides: tuple[Positive, ...] = (1, 2, 4)
    multiples: tuple[Positive, ...] = (1, 2)


class Space(Part):
    """The joint embedding space. Writing the bundle fills in `id`."""

    id: str = ""
    dimensions: Positive


class Memory(Part):
    """What a causal image network carries from frame to frame of one camera, of `frame` bundles only.

    image.onnx takes "memory_i" beside "images" and gives "memory_i_after", float32 [n, *shapes[i]]; zeros stand for
    what was before a stream. Sizes are bounded, since a manifest may come from anybody.
    """

    history: Annotated[int, Field(ge=1, le=1024)]
    """Frames before its own that an item depends on: so many rebuild the buffers exactly."""
    shapes: Annotated[
        tuple[Annotated[tuple[Positive, ...], Field(max_length=8)], ...], Field(min_length=1, max_length=1024)
    ]

    @model_validator(mode="after")
    def _bounded(self) -> Memory:
        if sum(math.prod(shape) for shape in self.shapes) > _MOST_REMEMBERED:
            raise ValueError(f"the buffers of one camera hold more than {_MOST_REMEMBERED} numbers")
        return self


class Score(Part):
    """From cosine to probability: softmax(logit_scale * cosine / temperature), or a sigmoid with `logit_bias`."""

    function: Literal["softmax", "sigmoid"] = "softmax"
    rule: Literal["window", "saliency"] = "window"
    """What a text is compared with: the window's embedding, or its frames pooled by the words of that text (BIKE)."""
    logit_scale: float = Field(gt=0)
    logit_bias: float | None = None
    temperature: float = Field(default=1.0, gt=0)
    synonym: float = Field(default=0.95, ge=-1, le=1)
    templates: tuple[str, ...] = ("{}",)
    per_template_limit: int = Field(default=256, ge=0)

    @model_validator(mode="after")
    def _consistent(self) -> Score:
        if self.function == "sigmoid" and self.logit_bias is None:
            raise ValueError("a sigmoid needs logit_bias")
        if not self.templates or any(template.count("{}") != 1 for template in self.templates):
            raise ValueError("templates must be at least one, each with exactly one {}")
        return self


class Text(Part):
    """text.onnx: "tokens" int64 [n, context_length] -> "embedding" float32 [n, D]. Cleaning, start and end tokens,
    truncation and padding are inside tokenizer.json.
    """

    context_length: Positive
    learned: bool = False
    """Whether learned.npz holds embeddings of names that training knew, which count in place of the network's."""


class EventSettings(Part):
    """Defaults of the event rules (ARCHITECTURE 4), thresholds as probabilities."""

    enter: Unit
    exit: Unit
    confirm: Positive
    backtrack_seconds: Seconds = 0.0
    min_seconds: Seconds
    merge_seconds: Seconds
    cooldown_seconds: Seconds
    max_seconds: float = Field(gt=0)

    @model_validator(mode="after")
    def _ordered(self) -> EventSettings:
        if self.exit > self.enter:
            raise ValueError("exit must not be above enter")
        return self


class EventOverride(Part):
    """Any subset of `EventSettings`, for one label."""

    enter: Unit | None = None
    exit: Unit | None = None
    confirm: Positive | None = None
    backtrack_seconds: Seconds | None = None
    min_seconds: Seconds | None = None
    merge_seconds: Seconds | None = None
    cooldown_seconds: Seconds | None = None
    max_seconds: float | None = Field(default=None, gt=0)


class Events(Part):
    """What `calibrate` measured, or hand-set values with `calibrated` false."""

    defaults: EventSettings
    onset_lag_ticks: int = 0
    offset_lag_ticks: int = 0
    labels: dict[str, EventOverride] = {}
    calibrated: bool = False
    report: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _overrides_hold(self) -> Events:
        for label in self.labels:
            self.settings(label)
        return self

    @property
    def uncalibrated(self) -> tuple[str, ...]:
        """Labels that `calibrate` could not fit thresholds of their own for, by its report."""
        named = (self.report or {}).get("uncalibrated")
        return tuple(sorted(named)) if isinstance(named, dict) else ()

    @property
    def always_open(self) -> tuple[str, ...]:
        """What every window would be an event of: labels whose `enter` is 0, and `the defaults` where theirs is."""
        defaults = ("the defaults",) if self.defaults.enter <= 0 else ()
        own = (label for label, override in self.labels.items() if override.enter is not None and override.enter <= 0)
        return (*defaults, *sorted(own))

    @property
    def fitted_seconds(self) -> float | None:
        """On how many seconds of streams the thresholds were fitted; None where no report says."""
        fitted = (self.report or {}).get("fitted_on")
        found = [fitted.get(name) for name in ("seconds", "quiet_seconds")] if isinstance(fitted, dict) else []
        numbers = [value for value in found if isinstance(value, int | float) and not isinstance(value, bool)]
        return float(sum(numbers)) if numbers else None

    @property
    def said(self) -> str:
        """In a few words, where the thresholds come from."""
        if not self.calibrated:
            return "NOT calibrated: thresholds are set by hand"
        extent = "" if self.fitted_seconds is None else f" on {self.fitted_seconds:g} s"
        rest = f", but for {len(self.uncalibrated)} labels" if self.uncalibrated else ""
        return f"calibrated{extent}{rest}"

    def settings(self, label: str) -> EventSettings:
        """Return the settings of one label: the defaults with its overrides."""
        override = self.labels.get(label, EventOverride()).model_dump(exclude_none=True)
        return EventSettings(**{**self.defaults.model_dump(), **override})


class Tolerance(Part):
    """Greatest absolute difference from the golden probe, after L2 normalisation."""

    encode: float = Field(default=1e-3, gt=0)
    embed: float = Field(default=1e-3, gt=0)
    text: float = Field(default=1e-3, gt=0)


class Calibration(Part):
    """The frames that a variant was calibrated with: how many, and the sha256 of all that were given."""

    sha256: Sha256
    frames: Positive


class Variant(Part):
    """The same networks in another precision, in files of their own (`variant_file`); the space is that of float32."""

    calibration: Calibration
    worst: float = Field(ge=0)
    """Largest 1 - cosine to float32, over items and windows of frames that were held out."""
    mean: float = Field(ge=0)
    top1: float | None = None
    """Share of top-1 accuracy lost over the windows of an action; None before `calibrate --precision int8`."""
    events: float | None = Field(default=None, ge=0)
    """Share of events that float32 alone or this variant alone reported."""

    @property
    def judged(self) -> bool:
        """True once windows and events were compared with those of float32; `auto` takes no other."""
        return self.top1 is not None and self.events is not None


class Producer(Part):
    """What made the bundle."""

    actionwire: str
    recipe: str
    seed: int


class Manifest(Part):
    """`bundle.json`. Leave `id`, `sealed`, `space.id` and `files` to `engines.bundle.files.write_draft` and `seal`."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    id: str = DRAFT
    sealed: bool = False
    name: Name
    version: Version
    kind: Literal["frame", "clip"] = "frame"
    encoder: Encoder
    head: Head
    input: Input
    window: Window
    space: Space
    score: Score
    memory: Memory | None = None
    text: Text
    events: Events
    tolerance: Tolerance = Tolerance()
    opset: Positive
    producer: Producer
    licence: str
    files: dict[str, Sha256] = {}
    variants: dict[Literal["int8"], Variant] = {}

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_by_name=True)

    @model_validator(mode="after")
    def _has_frames(self) -> Manifest:
        """What is said of single frames needs a bundle that encodes them."""
        if self.memory is not None and self.kind != "frame":
            raise ValueError("memory: a clip bundle encodes whole windows and carries nothing between frames")
        if self.score.rule == "saliency" and (self.kind != "frame" or self.text.learned):
            raise ValueError("score.rule: saliency pools frames by words; a clip bundle has none, nor do learned names")
        return self

    @property
    def history(self) -> int:
        """Frames before its own that an item depends on; 0 without memory."""
        return self.memory.history if self.memory else 0

    @property
    def file_names(self) -> tuple[str, ...]:
        """Names of the files this kind of bundle consists of, `bundle.json` apart."""
        variants = tuple(variant_file(name) for _ in self.variants for name in self.network_names)
        learned = (LEARNED_FILE,) if self.text.learned else ()
        words = (WORDS_FILE,) if self.score.rule == "saliency" else ()
        return NETWORKS[self.kind] + SHARED_FILES + learned + words + variants

    @property
    def network_names(self) -> tuple[str, ...]:
        """Names of the networks between pixels and embeddings: image and head, or clip."""
        return NETWORKS[self.kind]

    def data(self) -> dict[str, Any]:
        """Return the manifest as plain JSON data."""
        return self.model_dump(mode="json", by_alias=True)


def variant_file(network: str) -> str:
    """Return the name of a network's int8 file: `image.int8.onnx` for `image.onnx`."""
    return network.replace(".onnx", ".int8.onnx")


def manifest_id(data: dict[str, Any]) -> str:
    """Return the sha256 (hex) over the canonical JSON of a manifest without its `id`."""
    return hashlib.sha256(canonical_json({key: value for key, value in data.items() if key != "id"})).hexdigest()


def space_id(files: dict[str, str], kind: str) -> str:
    """Return the id of the embedding space: a hash of the networks and the tokenizer, which decide every embedding."""
    parts = [files[name] for name in (*NETWORKS[kind], "text.onnx", "tokenizer.json")]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def parse(text: str | bytes, where: str) -> tuple[Manifest, dict[str, Any]]:
    """Return the manifest and its raw data.

    Raises BundleError naming each wrong field, IncompatibleBundle for another schema version.
    """
    try:
        data = parse_json(text)
    except ValueError as error:
        raise BundleError(f"{where} is not JSON ({error}); export the bundle again") from error
    if not isinstance(data, dict):
        raise BundleError(f"{where} is not a JSON object; export the bundle again")
    if data.get("schema") != SCHEMA:
        found = data.get("schema")
        raise IncompatibleBundle(
            f"{where} has schema {short(found)}, this version reads {SCHEMA}; export the bundle again"
        )
    try:
        return Manifest.model_validate(data), data
    except ValidationError as error:
        faults = [f"{_place(fault['loc'])}: {fault['msg'][:_SHOWN]}" for fault in error.errors(include_input=False)]
        more = f"; and {len(faults) - _FAULTS} more" if len(faults) > _FAULTS else ""
        raise BundleError(f"{where} is not a valid manifest: {'; '.join(faults[:_FAULTS])}{more}") from error


_FAULTS = 5
_SHOWN = 200
"""How many faults of a manifest are named, and how much of each is shown."""


def _place(location: tuple[int | str, ...]) -> str:
    steps = (step if re.fullmatch(r"[\w.-]{1,60}", step, re.ASCII) else short(step) for step in map(str, location))
    return ".".join(steps) or "manifest"


def check_deployment(manifest: Manifest, *, rate: int, rewind_seconds: float) -> None:
    """Raise IncompatibleBundle when the bundle cannot run in a deployment.

    rate: frames/s of the deployment's tick grid, a multiple of the window's. rewind_seconds: how far back a restored
    worker reads; the longest window allowed must fit in, with the frames that its first item depends on.
    """
    window, who = manifest.window, f"bundle {manifest.name}@{manifest.version}"
    if rate < window.rate or rate % window.rate:
        raise IncompatibleBundle(
            f"{who} was trained at {window.rate} frames/s, which does not divide the deployment's rate {rate}; "
            f"set the rate to a multiple of {window.rate}"
        )
    if always := manifest.events.always_open:
        raise IncompatibleBundle(
            f"{who} has an enter threshold of 0 for {', '.join(always)}: every window would be an event; "
            "calibrate it again"
        )
    held = max(0.5, max(window.multiples) / window.rate)  # for the item before the window, which fills gaps
    needed = (window.frames + manifest.history) * max(window.multiples) / window.rate + held
    if needed > rewind_seconds:
        memory = " and its memory" if manifest.history else ""
        raise IncompatibleBundle(
            f"{who} needs {needed:g} s of frames for a window{memory}, the worker rewinds {rewind_seconds:g} s only; "
            f"set rewind_seconds to {needed:g} or more"
        )
