"""How much a worker does at once: as the settings say, or by the CPUs that it may use. No result depends on it."""

from __future__ import annotations

from dataclasses import dataclass

from engines.backends.network import thread_count
from pipeline.config.worker import WorkerSettings

MOST_DECODE_THREADS = 8
"""A core decodes a thousand frames a second and more; one process takes no more than some thousands."""
FRAMES_PER_THREAD = 4
"""Networks run in tiles of up to eight rows; from four on a larger one gains little, and costs latency."""
FEWEST_FRAMES = 8


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of one worker."""

    decode_threads: int
    batch_frames: int
    waiting_frames: int
    """From so many waiting frames on no more is read."""


def sizes_of(worker: WorkerSettings, cpus: int | None = None) -> Sizes:
    """The sizes that the settings name, else those that suit the host. cpus: None looks how many may be used."""
    usable = thread_count(None) if cpus is None else cpus
    threads = worker.threads or usable
    decode = worker.decode_threads or min(usable, MOST_DECODE_THREADS)
    batch = worker.batch_frames or max(FEWEST_FRAMES, FRAMES_PER_THREAD * threads)
    return Sizes(decode, batch, worker.queue_batches * batch)
