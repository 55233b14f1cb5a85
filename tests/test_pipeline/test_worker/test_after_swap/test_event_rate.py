"""What a worker counts around a swap."""

from __future__ import annotations

import pytest

from pipeline.worker.after_swap.event_rate import WINDOW_SECONDS, EventRate

CAMERAS = ("door", "yard")
HOUR = 3600.0


def watched(rate: EventRate, bundle: str, hours: float, events: int, label: str = "fall") -> None:
    """So many hours of each of two cameras, in which a bundle starts so many events, evenly."""
    rate.use(bundle)
    steps = round(12 * hours)
    for step in range(steps):
        rate.covered(CAMERAS, 2 * hours * HOUR / steps)
        for _ in range(events * (step + 1) // steps - events * step // steps):
            rate.started(bundle, label)


@pytest.fixture
def rate() -> EventRate:
    """Two labels are watched for by the bundle A."""
    rate = EventRate()
    rate.use("A")
    rate.watch(["fall", "run"])
    return rate


def test_a_bundle_that_says_ten_times_as_much_is_found_once(rate: EventRate) -> None:
    """And what was counted is told. Before the swap there is nothing to compare with.

    bundle     A, an hour    | B, half an hour
    events     4             | 20
    """
    watched(rate, "A", 1.0, 4)
    assert rate.doubled() is None
    watched(rate, "B", 0.5, 20)
    found = rate.doubled()
    assert found is not None
    assert (found.before.events, found.after.events) == (4, 20)
    assert found.before.hours == pytest.approx(2.0) and found.after.hours == pytest.approx(1.0)
    assert str(found.after) == "20 in 1 camera-hours"
    watched(rate, "B", 0.5, 20)
    assert rate.doubled() is None


def test_a_bundle_that_says_as_much_as_before_is_never_found(rate: EventRate) -> None:
    """However long it runs."""
    watched(rate, "A", 1.0, 30)
    watched(rate, "B", 0.9, 30)
    assert rate.doubled() is None
    watched(rate, "B", 3.0, 100)
    assert rate.doubled() is None


def test_only_the_last_hour_before_the_swap_counts(rate: EventRate) -> None:
    """A night in which nobody moves is no measure of the morning.

    bundle     A: 8 quiet hours, then a busy one | B: as busy
    """
    watched(rate, "A", 8.0, 0)
    watched(rate, "A", WINDOW_SECONDS / HOUR, 40)
    watched(rate, "B", 0.5, 20)
    assert rate.doubled() is None


def test_after_an_hour_a_bundle_has_proven_itself(rate: EventRate) -> None:
    """What doubles later is the world, not the swap."""
    watched(rate, "A", 1.0, 20)
    watched(rate, "B", WINDOW_SECONDS / HOUR, 20)
    assert rate.doubled() is None
    watched(rate, "B", 0.5, 300)
    assert rate.doubled() is None


def test_a_label_that_is_added_or_gone_changes_nothing(rate: EventRate) -> None:
    """Only those that were watched for throughout are compared.

    labels     fall run     | fall run   fall climb
    climb                                ||||||||||
    """
    watched(rate, "A", 1.0, 4)
    watched(rate, "B", 0.2, 1)
    rate.watch(["fall", "climb"])
    watched(rate, "B", 0.2, 200, label="climb")
    assert rate.doubled() is None
    watched(rate, "B", 0.2, 40, label="fall")
    found = rate.doubled()
    assert found is not None and (found.before.events, found.after.events) == (4, 41)


def test_back_on_the_bundle_before_nothing_is_found(rate: EventRate) -> None:
    """The channel was put back from B: A says less, and is not measured against itself."""
    watched(rate, "A", 1.0, 4)
    watched(rate, "B", 0.5, 40)
    assert rate.doubled() is not None
    watched(rate, "A", 0.5, 4)
    assert rate.doubled() is None


def test_a_swap_that_is_told_of_twice_is_one(rate: EventRate) -> None:
    """By the first event of the new bundle, and by the thread that handed it over."""
    watched(rate, "A", 1.0, 4)
    rate.started("B", "fall")
    rate.use("B")
    watched(rate, "B", 0.5, 20)
    found = rate.doubled()
    assert found is not None and (found.before.events, found.after.events) == (4, 21)
