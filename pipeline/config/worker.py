"""From frames topic to events topic."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.config.section import Seconds, Section, Unit


class WorkerSettings(Section):
    """From frames topic to events topic."""

    bundle: str = "demo"
    """Bundle to run: a name in the store, NAME:CHANNEL, NAME@VERSION, the path of a directory, or `demo`.

    Workers follow a channel, and a bare name means the channel `stable`: while they run they take up whichever version
    it comes to stand on. NAME@VERSION and a path stay what they are.
    """
    shadow: Annotated[str | None, Field(pattern="^[a-z][a-z0-9-]*$")] = None
    """Channel of the bundle that `actionwire worker --shadow` tries beside it, such as `candidate`.

    Its events go to a topic of their own; `actionwire watch --shadow` shows them, `actionwire events diff` compares.
    """
    shadow_share: Annotated[float, Unit("of all cameras")] = Field(default=1.0, gt=0, le=1)
    """How much a shadow looks at, 0.25 for every fourth camera; the same ones always."""
    doubled_events: Literal["put_back", "alarm"] = "put_back"
    """What happens when a bundle that was taken up says more than twice as many events as the one before it.

    `put_back` lets the channel stand on the one before again, `alarm` only says so. docs/engines-and-store.md has the
    rule.
    """
    backend: Literal["auto", "openvino", "onnxruntime", "tensorrt"] = "auto"
    """Inference runtime. `auto` takes what runs the bundle.

    On a CPU that is the first that is installed; where TensorRT finds a GPU, what is measured to be fastest.
    """
    device: str = "auto"
    """Device of the runtime, by the runtime's own name: CPU, or the number of a GPU for TensorRT.

    `auto` is the CPU, and for TensorRT the first GPU.
    """
    processes: Annotated[int, Unit("processes"), Field(ge=1, le=64)] | Literal["auto"] = 1
    """Workers that `actionwire worker` runs side by side, each with a port and a share of the CPUs; `auto` is one per
    device.
    """
    devices: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """GPUs that these processes share, one each in turn, as CUDA_VISIBLE_DEVICES names them: numbers or UUIDs."""
    precision: Literal["fp32", "bf16", "int8", "auto"] = "fp32"
    """Arithmetic of the networks. int8 needs a bundle with that variant (`actionwire-engines quantise`).

    `auto` measures on this host what is fastest, once, and remembers it. Another arithmetic changes the last digits of
    scores, so fp32 stays the default.
    """
    threads: Annotated[int, Unit("threads")] = Field(default=0, ge=0)
    """Threads of each network; 0 takes every CPU that this process may use."""
    decode_threads: Annotated[int, Unit("threads")] = Field(default=0, ge=0)
    """Threads that decode JPEG and resize; 0 takes one for every CPU that this process may use, at most eight."""
    group: str = "actionwire-worker"
    """Consumer group; the workers of one deployment share it."""
    slot: str | None = None
    """Stable name of this worker, unique in its group, for its transactional id; null makes one from host and process.
    """
    batch_frames: Annotated[int, Unit("frames")] = Field(default=0, ge=0, le=1024)
    """Largest batch that is encoded at once; 0 takes four for every thread of the networks, at least eight."""
    batch_milliseconds: Annotated[int, Unit("milliseconds")] = Field(default=20, ge=0)
    """A smaller batch is run once its oldest frame has waited this long."""
    queue_batches: Annotated[int, Unit("batches")] = Field(default=4, ge=1)
    """Decoded batches that may wait for inference; beyond that no more is read."""
    poll_records: Annotated[int, Unit("records")] = Field(default=128, ge=1)
    """Most records that one poll of the broker returns."""
    rewind_seconds: Seconds = Field(default=20.0, gt=0)
    """How far before its committed position a partition is read again, to fill the windows; longer than any window."""
    commit_seconds: Seconds = Field(default=1.0, gt=0)
    """Longest time between two commits; events and dead letters are committed at once."""
    lost_seconds: Seconds = Field(default=60.0, gt=0)
    """A camera that is silent for this long while its partition is read to the end is ended by its owner."""
    session_seconds: Seconds = Field(default=10.0, ge=6)
    """A worker that the group does not hear from for this long loses its partitions to the others."""
    overload: Literal["shed", "queue"] = "shed"
    """Under overload `shed` analyses less and counts it; `queue` falls behind and analyses everything."""
    start: Literal["live", "begin"] = "live"
    """Where a partition without a committed position starts: at its newest record, or at its oldest."""
