"""Several workers of one machine under one supervisor: a slot, a port, a device and a share of the CPUs each.

    slot      NAME-1                NAME-2                NAME-3
    port      9402                  9403                  9404            of /metrics, /live and /ready
    device    devices[0]            devices[1]            devices[0]      by CUDA_VISIBLE_DEVICES

They share nothing but the consumer group, which deals the partitions, and the cache, in which one builds a plan for
all.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.config.settings import Settings


@dataclass(frozen=True, slots=True)
class Place:
    """What one of several workers has to itself."""

    slot: str
    environment: Mapping[str, str]
    """Variables that differ from this process's own."""


def places(settings: Settings, slot: str, cpus: int) -> tuple[Place, ...]:
    """Return the place of each worker; a single one has no variables of its own. Pure.

    slot: of the first, or the name that several share with a number behind it. cpus: that this machine may use; each of
    several workers gets its share of them, where `worker.threads` leaves that open.
    """
    worker, http = settings.worker, settings.http
    count = max(1, len(worker.devices)) if worker.processes == "auto" else worker.processes
    made = []
    for index in range(count):
        own: dict[str, str] = {}
        if count > 1 and http.worker_port:
            own["ACTIONWIRE_HTTP__WORKER_PORT"] = str(http.worker_port + index)
        if count > 1 and not worker.threads:
            own["ACTIONWIRE_WORKER__THREADS"] = str(max(1, cpus // count))
        if worker.devices:
            own["CUDA_VISIBLE_DEVICES"] = worker.devices[index % len(worker.devices)]
        made.append(Place(slot if count == 1 else f"{slot}-{index + 1}", own))
    return tuple(made)


def supervise_all(
    found: Sequence[Place], supervise_one: Callable[[Place, threading.Event], int], stop: threading.Event
) -> int:
    """Supervise every worker on a thread of its own until `stop` is set, or one of them gives up; return the exit code.

    supervise_one: returns the exit code once the worker of a place has ended for good. One that gives up ends the
    others: what only a person can mend is the same for all. The code is that of the one that gave up, else the worst.
    """
    if len(found) == 1:
        return supervise_one(found[0], stop)
    codes: dict[int, int] = {}
    ended = threading.Condition()

    def run(index: int) -> None:
        code = 1
        try:
            code = supervise_one(found[index], stop)
        finally:
            with ended:
                codes[index] = code
                ended.notify_all()

    threads = [threading.Thread(target=run, args=(index,), name=found[index].slot) for index in range(len(found))]
    for thread in threads:
        thread.start()
    with ended:
        while not codes:
            ended.wait(1.0)
        first = next(iter(codes.values()))
    stop.set()
    for thread in threads:
        thread.join()
    return first or max(codes.values(), key=abs)


def environment_of(place: Place) -> dict[str, str]:
    """Return the whole environment of a worker's process."""
    return {**os.environ, **place.environment}
