"""From frames topic to events topic."""

from __future__ import annotations

from typing import Literal

from pydantic import (
    Field,
)

from pipeline.config.section import _Frozen


class WorkerSettings(_Frozen):
    """From frames topic to events topic."""

    bundle: str = "demo"
    """Name in the store, path of a bundle directory, or `demo`.

    With a bare name workers follow the store and take up, while they run, whichever version becomes current;
    NAME@VERSION and a path stay what they are.
    """
    backend: Literal["auto", "openvino", "onnxruntime", "tensorrt"] = "auto"
    device: str = "CPU"
    precision: Literal["fp32", "bf16"] = "fp32"
    threads: int = Field(default=0, ge=0)
    """Threads of the inference runtime; 0 lets it choose."""
    decode_threads: int = Field(default=2, ge=1)
    group: str = "actionwire-worker"
    slot: str | None = None
    """Stable name of this worker for its transactional id; made from host and process when absent."""
    batch_frames: int = Field(default=8, ge=1, le=1024)
    batch_milliseconds: int = Field(default=20, ge=0)
    """A smaller batch is run when its oldest frame has waited this long."""
    queue_batches: int = Field(default=4, ge=1)
    poll_records: int = Field(default=128, ge=1)
    rewind_seconds: float = Field(default=20.0, gt=0)
    commit_seconds: float = Field(default=1.0, gt=0)
    lost_seconds: float = Field(default=60.0, gt=0)
    """A camera that is silent for this long while its partition is read to the end is ended by its owner."""
    session_seconds: float = Field(default=10.0, ge=6)
    overload: Literal["shed", "queue"] = "shed"
    """When there is more to do than time: analyse less, and count it, or fall behind and analyse everything."""
    start: Literal["live", "begin"] = "live"
    """Where a partition without a committed position starts."""
