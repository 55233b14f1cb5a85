"""The recipe: one frozen tree that, with a seed, decides everything about a training run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, Tag, ValidationError, model_validator

from engines.bundle.manifest import Name, Version
from trainer.errors import RecipeError
from trainer.models.settings import Model
from trainer.models.start import Scratch, Start
from trainer.recipes.effects import without_effect
from trainer.recipes.fit import what_does_not_fit
from trainer.recipes.loss import Loss
from trainer.recipes.part import Fraction, Part, Positive, by


class Data(Part):
    """Training data: rendered scenes, or your own clips. Seeds never overlap those of validation."""

    first_seed: int = Field(default=0, ge=0, lt=10_000)
    streams: int = Field(default=400, gt=0, le=1_000)
    seconds: float = Field(default=120.0, gt=0)
    """Length of one stream."""
    density: float = Field(default=1.5, gt=0)
    """How close the actions of a stream follow each other; 1 as in the streams that are measured."""
    rendered_clips: int = Field(default=0, ge=0, le=9_000)
    """Scenes of one action each beside the streams: more people and places per frame than a stream has."""
    clip_seconds: float = Field(default=5.0, gt=0)
    rate: Positive = 4
    """Sampled frames per second, as in deployment."""
    jitter: Fraction = 0.5
    """Start of the sampling grid within one tick, drawn per stream."""
    clips: Path | None = None
    """Your own labelled clips in place of rendered streams: a list, or a folder with one (`trainer.data.manifest`)."""
    clips_hash: str = ""
    """Hash of the list and of its files' sizes. Training fills it in; a run resumes only with the same one."""
    sampling: Literal["segments", "window"] = "segments"
    """How frames are taken from your clips: one of each equal segment, or consecutive ones as in serving.

    A clip that is shorter than a window takes what its recording shows around it, or holds its last frame; it is never
    stretched in time.
    """
    validate_share: float = Field(default=0.2, ge=0, le=0.5)
    """Share of your clips that is kept apart by group to validate, where the list names no split; 0 for none."""
    max_skipped: Fraction = 0.05
    """Share of your clips that may be left out because they cannot be read; beyond it training does not begin."""
    background: Fraction = 0.25
    """Share of the clips of a batch that show background, where the list has any."""
    between: bool = True
    """Whether the time between the labelled parts of a recording counts as background."""


class Augment(Part):
    """Random changes of a camera's pictures, drawn once per chunk. Pixels, grey levels of 255, probabilities."""

    kind: Literal["camera"] = "camera"
    flip: Fraction = 0.5
    shift: float = Field(default=0.06, ge=0)
    """Largest shift as a fraction of the side."""
    zoom: float = Field(default=0.12, ge=0)
    fade: Fraction = 0.3
    """Largest part of the contrast in lightness, and of that in colour, that is removed."""
    gain: float = Field(default=0.25, ge=0)
    offset: float = Field(default=16.0, ge=0)
    noise: float = Field(default=5.0, ge=0)
    jpeg: Fraction = 0.35
    """Share of the chunks that are compressed again, as JPEG."""
    stutter: Fraction = 0.1
    """Share of the chunks in which single frames are held, as serving does with missing ticks."""


class Published(Part):
    """ActionCLIP's changes of the pictures, each drawn once per clip, computed by torchvision. Probabilities."""

    kind: Literal["published"] = "published"
    operations: int = Field(default=2, ge=0)
    """RandAugment: how many operations follow each other; the release has 2 for Kinetics, 0 for UCF and HMDB."""
    magnitude: int = Field(default=9, ge=0, le=30)
    """Their strength, of 30."""
    scales: tuple[Fraction, ...] = (1.0, 0.875, 0.75, 0.66)
    """Sides of the crops, as shares of the shorter side; one of 13 positions is drawn."""
    flip: Fraction = 0.5
    jitter: Fraction = 0.8
    """Share of the clips whose brightness, contrast, saturation (.4, .4, .2) and hue (.1) change."""
    grey: Fraction = 0.2


Freeze = Literal["V1", "V2", "V3", "V4"]
AnyAugment = Annotated[Annotated[Augment, Tag("camera")] | Annotated[Published, Tag("published")], by("kind", "camera")]


class Targets(Part):
    """How a window's truth follows from the events it overlaps (share of the shorter of window and event)."""

    positive: Fraction = 0.6
    negative: Fraction = 0.25
    edge: Literal["ignore", "soft"] = "soft"
    first: int = Field(default=0, ge=0)
    last: int = Field(default=0, ge=0)
    """Items at the beginning and the end of the window that do not count for the overlap."""

    @model_validator(mode="after")
    def _ordered(self) -> Targets:
        if self.negative >= self.positive:
            raise ValueError("targets.negative must be below targets.positive")
        return self


class Episodes(Part):
    """Training by episodes: some classes, examples of each, and other clips to recognise by them (CLIP-FSAR)."""

    ways: int = Field(default=5, ge=2)
    shots: Positive = 1
    queries: Positive = 5
    """Clips to recognise, of each class."""

    @property
    def clips(self) -> int:
        """Clips of one episode."""
        return self.ways * (self.shots + self.queries)


class Stage(Part):
    """One stage of training: the size of a batch, and the number of steps."""

    steps: Positive
    chunks: Positive
    """Stretches of video per step."""
    ticks: Positive
    """Frames per stretch; one below the window's length trains single frames."""
    texts: bool = True
    """Whether the captions take part; without them only `loss.words` trains, and only the image tower."""
    balanced: Fraction = 0.75
    """Share of the stretches that are drawn around an event of a uniformly drawn action; the others from anywhere."""
    frozen: bool = False
    """The image tower rests: batches come from items that it computed once, so steps are many times cheaper.

    Such stages come last, and each has a learning-rate curve of its own that starts at `rate`. `freeze` in place of
    it keeps the tower as it was from the first step on.
    """
    rate: float = Field(default=1e-3, gt=0)
    """Learning rate of a frozen stage; the others share that of the optimiser."""
    items: Positive = 60_000
    """Frames of each rendered footage, at most, that are encoded for a frozen stage."""


class Optimiser(Part):
    """AdamW with the paper's groups: text tower, image tower and head each learn at a ratio of `rate`."""

    rate: float = Field(default=1e-3, gt=0)
    text_ratio: float = Field(default=1.0, ge=0)
    image_ratio: float = Field(default=1.0, ge=0)
    head_ratio: float = Field(default=1.0, ge=0)
    orthogonal: float = Field(default=0.0, ge=0)
    """Ratio at which the image tower's convolutions learn by Muon, which learns faster from scratch; 0: AdamW
    trains them with the rest of the tower."""
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = 1e-8
    weight_decay: float = Field(default=0.05, ge=0)
    warmup_steps: int = Field(default=100, ge=0)
    clip: float = Field(default=1.0, ge=0)
    """Largest gradient norm; 0 for none."""
    accumulate: Positive = 1
    """Parts in which a batch passes the image tower, to save memory. The loss is that of the whole batch; activations
    are computed again for the backward pass, and batch norms see one part at a time."""
    recompute: bool = False
    """Gradient checkpointing: the towers keep no activations inside their blocks, which saves memory for time."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the forward pass; `auto` is bfloat16 on a GPU and float32 on a CPU. Weights and losses are float32."""
    average: float = Field(default=0.998, ge=0, lt=1)
    """Decay of the moving average of the weights, which is what evaluation and export use; 0 for none."""
    averaging: Literal["ema", "swa"] = "ema"
    """That moving average, or the plain mean of the weights after all late steps (SWA, as Open-VCLIP has it)."""
    average_from: Fraction = 0.1
    """With `averaging: swa`, after which share of the steps the mean begins."""


class Validate(Part):
    """What is measured, on rendered seeds of the validation range."""

    first_seed: int = Field(default=10_000, ge=10_000, lt=20_000)
    streams: int = Field(default=12, ge=2)
    """Half of them decide the thresholds for the other half."""
    seconds: float = Field(default=120.0, gt=0)
    clips: Positive = 640
    clip_seconds: float = Field(default=5.0, gt=0)
    every: Positive = 1000
    """Steps between two validations."""
    keep: Literal["last", "best"] = "last"
    """Whose model a run on clips hands on: that of the last validation, or of the one with most clips right."""


class Items(Part):
    """What a frozen image tower computes once."""

    copies: int = Field(default=0, ge=0)
    """Changed copies of every clip (by `augment`) that are encoded beside it; a step draws any of them."""


class Recipe(Part):
    """Everything a run depends on besides the code."""

    name: Name
    version: Version = "0.1.0"
    licence: str | None = None
    """Licence of the model that comes out. With footage or weights of yours it is yours to state."""
    seed: int = 1
    start: Start = Scratch()
    freeze: Freeze = "V4"
    """What of the start stays as it is, in ActionCLIP's words: V1 the text tower, V2 the image tower, V3 both, V4
    nothing."""
    open_stages: Positive | None = None
    """Where the image tower learns: only so many of its last stages or blocks, and all that follows them."""
    data: Data = Data()
    items: Items = Items()
    model: Model = Model()
    augment: AnyAugment = Augment()
    episodes: Episodes | None = None
    """Trains `model.few_shot` on clips of your own; None: clips against captions."""
    targets: Targets = Targets()
    loss: Loss = Loss()
    optimiser: Optimiser = Optimiser()
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)]
    validate_on: Validate = Validate()
    checkpoint_every: Positive = 500

    @property
    def steps(self) -> int:
        """Steps of all stages together."""
        return sum(stage.steps for stage in self.stages)

    @property
    def mean_from(self) -> int | None:
        """The step from which the mean of the weights counts; None for the exponential average."""
        return round(self.optimiser.average_from * self.steps) if self.optimiser.averaging == "swa" else None

    @property
    def image_frozen(self) -> bool:
        """Whether the image tower stays as it was at the start, so that items can be computed once.

        Vita-CLIP's prompts learn inside a tower whose own weights rest.
        """
        ratios = self.optimiser.image_ratio == 0 and self.optimiser.orthogonal == 0
        return self.model.prompt.kind != "vita" and (self.freeze in ("V2", "V3") or ratios)

    @property
    def text_frozen(self) -> bool:
        """Whether the text tower stays as it was at the start."""
        return self.freeze in ("V1", "V3") or self.optimiser.text_ratio == 0

    @property
    def thawed_steps(self) -> int:
        """Steps that see pictures; those that see items follow, all of them where the image tower is frozen."""
        return 0 if self.image_frozen else sum(stage.steps for stage in self.stages if not stage.frozen)

    def draws_items(self, stage: Stage) -> bool:
        """Whether the batches of a stage come from items in place of pictures."""
        return stage.frozen or self.image_frozen

    def stage_at(self, step: int) -> tuple[Stage, int]:
        """The stage that a step (counted from 0) belongs to, the last one beyond the end, and the steps it is in."""
        for stage in self.stages[:-1]:
            if step < stage.steps:
                return stage, step
            step -= stage.steps
        return self.stages[-1], step

    @model_validator(mode="after")
    def _frozen_last(self) -> Recipe:
        frozen = [stage.frozen for stage in self.stages]
        if frozen != sorted(frozen):
            raise ValueError("stages: one that is not frozen follows a frozen one; put the frozen stages last")
        return self

    @model_validator(mode="after")
    def _windows_show_something(self) -> Recipe:
        aside = self.targets.first + self.targets.last
        if aside >= self.model.frames:
            raise ValueError(
                f"targets: first and last leave {aside} frames out, a window has {self.model.frames} (model.frames); "
                "no window would show an action"
            )
        return self

    @model_validator(mode="after")
    def _parts_fit(self) -> Recipe:
        if faults := what_does_not_fit(self):
            raise ValueError("; ".join(faults))
        return self

    @model_validator(mode="after")
    def _nothing_without_effect(self) -> Recipe:
        if faults := without_effect(self):
            raise ValueError("; ".join(faults))
        return self

    @model_validator(mode="after")
    def _licence_stated(self) -> Recipe:
        if self.licence is None and (self.data.clips is not None or self.start.kind != "scratch"):
            raise ValueError("licence: state that of the model that comes out, which follows from your footage and the "
                             "weights it starts with; --set licence='...'")  # fmt: skip
        return self


def load(path: Path, overrides: tuple[str, ...] = ()) -> Recipe:
    """Read a recipe from YAML; `overrides` are `dotted.key=value` with a YAML value. Raises RecipeError."""
    try:
        tree = yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise RecipeError(f"no recipe at {path}; the shipped ones lie in trainer/recipes") from error
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} cannot be read as a recipe: {error}") from error
    except yaml.YAMLError as error:
        raise RecipeError(f"{path} is no valid YAML: {error}") from error
    for override in overrides:
        try:
            _override(tree, override)
        except (ValueError, LookupError, TypeError, AttributeError, yaml.YAMLError) as error:
            raise RecipeError(
                f"--set {override!r} fits no place in {path}; write dotted.key=value, and a stage by its number from 0"
            ) from error
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        raise RecipeError(f"{path} is no valid recipe: {reasons(error)}") from error


def reasons(error: ValidationError) -> str:
    """What pydantic found, in one line, each place in dotted form."""
    found = []
    for fault in error.errors():
        place, reason = ".".join(map(str, fault["loc"])), fault["msg"].removeprefix("Value error, ")
        found.append(f"{place}: {reason}" if place else reason)
    return "; ".join(found)


def _override(tree: dict[str, object], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals:
        raise ValueError("no value")
    *parents, last = key.split(".")
    node: object = tree
    for parent in parents:
        node = node[int(parent)] if isinstance(node, list) else node.setdefault(parent, {})  # type: ignore[attr-defined]
    if isinstance(node, list):
        node[int(last)] = yaml.safe_load(value)
    else:
        node[last] = yaml.safe_load(value)  # type: ignore[index]
