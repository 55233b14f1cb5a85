"""Several workers under one supervisor: who gets what, and how they end together."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from pipeline.commands.worker_processes import Place, places, supervise_all
from pipeline.config.http import HttpSettings
from pipeline.config.settings import Settings
from pipeline.config.worker import WorkerSettings


def settings(port: int | None = 9402, **worker: Any) -> Settings:
    """A deployment with these workers."""
    return Settings(worker=WorkerSettings(**worker), http=HttpSettings(worker_port=port))


def test_one_worker_is_as_it_ever_was() -> None:
    """Its slot, and no variable of its own."""
    assert places(settings(), "a", 8) == (Place("a", {}),)


def test_several_share_the_machine() -> None:
    """Slot and port each, a share of the CPUs, and the GPUs in turn."""
    first, second, third = places(settings(processes=3, devices=("GPU-1", "GPU-2")), "a", 8)
    assert [one.slot for one in (first, second, third)] == ["a-1", "a-2", "a-3"]
    assert [one.environment["ACTIONWIRE_HTTP__WORKER_PORT"] for one in (first, second, third)] == [
        "9402",
        "9403",
        "9404",
    ]
    assert {one.environment["ACTIONWIRE_WORKER__THREADS"] for one in (first, second, third)} == {"2"}
    assert [one.environment["CUDA_VISIBLE_DEVICES"] for one in (first, second, third)] == ["GPU-1", "GPU-2", "GPU-1"]


@pytest.mark.parametrize(
    ("worker", "count"),
    [({"processes": "auto"}, 1), ({"processes": "auto", "devices": ("0", "1", "2")}, 3), ({"processes": 2}, 2)],
)
def test_auto_is_one_per_device(worker: dict[str, Any], count: int) -> None:
    """And one where none is named."""
    assert len(places(settings(**worker), "a", 4)) == count


def test_what_the_settings_say_stays() -> None:
    """Threads that are named, and no port where none is served; a machine with few CPUs gives each at least one."""
    (one, _) = places(settings(port=None, processes=2, threads=3), "a", 8)
    assert one.environment == {}
    (one, _) = places(settings(processes=2), "a", 1)
    assert one.environment["ACTIONWIRE_WORKER__THREADS"] == "1"


def waiting(place: Place, stop: threading.Event) -> int:
    """A worker that works until it is told to stop."""
    assert stop.wait(20)
    return 0


def test_a_stop_reaches_all() -> None:
    """And none of them failed."""
    stop = threading.Event()
    stop.set()
    assert supervise_all([Place(str(number), {}) for number in range(3)], waiting, stop) == 0


def test_one_that_gives_up_ends_the_others() -> None:
    """A bundle that cannot be loaded cannot be loaded by any."""
    ended: list[str] = []

    def supervise_one(place: Place, stop: threading.Event) -> int:
        code = 2 if place.slot == "1" else waiting(place, stop)
        ended.append(place.slot)
        return code

    assert supervise_all([Place(str(number), {}) for number in range(3)], supervise_one, threading.Event()) == 2
    assert ended[0] == "1" and len(ended) == 3


def test_the_worst_end_counts() -> None:
    """One that had to be killed is no success of all."""
    stop = threading.Event()

    def supervise_one(place: Place, stop: threading.Event) -> int:
        waiting(place, stop)
        return 137 if place.slot == "1" else 0

    stop.set()
    assert supervise_all([Place(str(number), {}) for number in range(3)], supervise_one, stop) == 137
