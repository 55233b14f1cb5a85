"""The set that a version stands for, and its embedded form."""

import threading
import time

import pytest
import structlog

from pipeline.analysis.label_set import LabelSet
from pipeline.analysis.partition import LabelView
from pipeline.errors import BrokerTimeout, TransientError
from pipeline.records.labels import Label
from pipeline.testing import ColourLabels, ManualClock
from pipeline.worker.label_views import (
    KEPT_LABEL_VIEWS,
    KEPT_STRAYS,
    EmbeddingProgress,
    LabelHistory,
    LabelViews,
)


def colours(version: int, *names: str) -> LabelSet:
    """A set that watches for colours."""
    return LabelSet(tuple(Label(name, name) for name in names), version)


def test_a_version_that_was_compacted_away_is_the_next_one() -> None:
    """A version that no longer exists stands for the smallest above it, so all workers read a marker alike.

    known versions   -1  .  .  2  .  5
    asked                0->2     4->5
    """
    history = LabelHistory(limit_seconds=0)
    history.put(colours(2, "red"))
    history.put(colours(5, "blue"))
    history.caught_up(0, 8)
    assert [history(version).version for version in (-1, 0, 2, 4, 5)] == [-1, 2, 2, 5, 5]
    assert history(7).version == 5, "the end of the topic was a removal that is gone: nothing else is in force"
    assert history.newest.version == 5


def test_a_version_that_is_on_its_way_is_waited_for() -> None:
    """A marker may be read before the control record that it announces."""
    history = LabelHistory()
    threading.Timer(0.05, history.put, [colours(3, "red")]).start()
    assert history(3).version == 3


def test_the_end_of_the_control_topic_decides_not_the_time() -> None:
    """A version counts as missing only once the topic was read to an end that was looked up after the request.

    asked     9?  ......................... 9?  ........ 2      and 9, once it was written
    read to       (out of reach: no answer)      3 = end
    """
    history = LabelHistory(limit_seconds=0.01)
    history.put(colours(2, "red"))
    assert history.catch_up_request is None
    with pytest.raises(BrokerTimeout, match="label set 9 is not known"):
        history(9)
    request = history.catch_up_request
    assert request is not None
    followed = LabelHistory()
    followed.put(colours(2, "red"))
    found: list[int] = []
    waiting = threading.Thread(target=lambda: found.append(followed(9).version))
    waiting.start()
    while (request := followed.catch_up_request) is None:
        time.sleep(0.001)
    followed.caught_up(request - 1, 3)  # of an end that was looked up before
    waiting.join(0.05)
    assert waiting.is_alive()
    followed.caught_up(request, 3)
    waiting.join(10)
    assert found == [2]
    assert followed(9).version == 2 and followed.catch_up_request is None, "a stray is requested once"
    followed.put(colours(9, "blue"))
    assert followed(9).version == 9


def test_only_the_newest_label_views_are_kept() -> None:
    """Sets that change with day and night would fill the memory in a year. An old one is embedded again when needed."""
    history = LabelHistory(complete=True)
    for version in range(100):
        history.put(colours(version, "red"))
    label_views = LabelViews(lambda labels: ColourLabels.of(labels.version, ["red"]), history)

    assert [label_views(version).version for version in range(100)] == list(range(100))
    assert len(label_views._embedded) == KEPT_LABEL_VIEWS
    assert label_views(3).version == 3


def test_large_sets_are_kept_by_their_labels() -> None:
    """Few sets of many labels are kept, never less than the newest two: no memory is filled by an editor's every save.

    labels   20 000   20 000   20 000   60 000   60 000   1
    kept     1        2        2        2        2        2   (3 once the last large one has gone)
    """
    sizes = [20_000, 20_000, 20_000, 60_000, 60_000, 1, 1, 1]
    history = LabelHistory(complete=True)
    for version, size in enumerate(sizes):
        history.put(LabelSet((Label("red", "red"),) * size, version))
    label_views = LabelViews(lambda labels: ColourLabels.of(labels.version, ["red"]), history)

    kept = [(label_views(version), len(label_views._embedded))[1] for version in range(len(sizes))]

    assert kept == [1, 2, 2, 2, 2, 2, 2, 3]


def test_a_set_is_embedded_once_for_each_engine_and_only_when_it_is_needed() -> None:
    """Two engines share the history; each has label views of its own."""
    history = LabelHistory(complete=True)
    history.put(colours(0, "red"))
    history.put(colours(1, "red", "blue"))
    embedded: list[tuple[str, int]] = []

    def engine(name: str) -> LabelViews:
        def embed(labels: LabelSet) -> LabelView:
            embedded.append((name, labels.version))
            return ColourLabels.of(labels.version, [label.id for label in labels.labels])

        return LabelViews(embed, history)

    old, new = engine("old"), engine("new")
    assert [old(version).version for version in (0, 0, 1, 0)] == [0, 0, 1, 0]
    assert new(7).version == 1
    assert embedded == [("old", 0), ("old", 1), ("new", 1)]


def test_a_long_embedding_says_how_far_it_is_and_that_it_moves() -> None:
    """Every label is a sign of life, and every ten seconds there is a line.

    seconds   0    4    8    12          16   20          24
    label     a    b    c    d           e    f           (done)
    logged                   3 of 6           (no: 8 s)   -
    """
    clock = ManualClock()
    progress, begun = EmbeddingProgress(clock.monotonic), clock.seconds

    with structlog.testing.capture_logs() as logs:
        for number, _ in enumerate(progress.over("abcdef")):
            assert progress.moved_at == begun + 4 * number
            clock.advance(4)

    assert progress.moved_at == begun + 24
    assert logs == [{"event": "embedding labels", "log_level": "info", "done": 3, "of": 6}]


def test_a_worker_that_ends_embeds_no_more() -> None:
    """A stop does not wait for the ninety labels that are left."""
    progress, done = EmbeddingProgress(), list[int]()

    with pytest.raises(TransientError, match="the worker ends"):
        for number in progress.over(range(100)):
            done.append(number)
            if number == 9:
                progress.stop()
    assert len(done) == 10


def test_whoever_must_poll_does_not_wait_for_an_embedding() -> None:
    """A set is embedded beside the thread that asks; while that lasts the answer is no, and no second one is begun."""
    history, release, embedded = LabelHistory(complete=True), threading.Event(), list[int]()
    history.put(colours(0, "red"))

    def embed(labels: LabelSet) -> LabelView:
        embedded.append(labels.version)
        assert release.wait(20)
        return ColourLabels.of(labels.version, [label.id for label in labels.labels])

    views = LabelViews(embed, history)
    assert not any(views.prepare(0, 0.0) for _ in range(5))
    history.put(colours(1, "red", "blue"))
    assert not views.prepare(1, 0.0)
    release.set()

    while not views.prepare(1, 1.0):
        pass
    assert embedded == [0, 1] and views(0).version == 0
    assert embedded == [0, 1]


def test_an_embedding_that_fails_is_told_to_who_asked_and_tried_again() -> None:
    """An error on the other thread is not lost, and does not stick."""
    history, failures = LabelHistory(complete=True), [MemoryError("no room"), BrokerTimeout("nobody answers")]
    history.put(colours(0, "red"))

    def embed(labels: LabelSet) -> LabelView:
        if failures:
            raise failures.pop()
        return ColourLabels.of(labels.version, ["red"])

    views = LabelViews(embed, history)
    for error in (BrokerTimeout, MemoryError):
        with pytest.raises(error):
            views.prepare(0, 20.0)
    assert views.prepare(0, 20.0)


def test_a_request_wakes_who_can_serve_it() -> None:
    """The reader of the control topic sleeps between two looks; whoever needs it ends that at once."""
    history = LabelHistory()
    history.put(colours(2, "red"))
    served: list[int | None] = []

    def read() -> None:
        history.wait_for_request(60.0)
        served.append(history.catch_up_request)
        history.caught_up(history.catch_up_request or 0, 3)

    reader = threading.Thread(target=read)
    reader.start()
    assert history(9).version == 2
    reader.join(10)
    assert served == [1]
    history.wait_for_request(0.0)


def test_only_so_many_strays_are_remembered() -> None:
    """Markers of versions that never were may come for ever; one that was forgotten is looked up again."""
    history = LabelHistory()
    history.put(colours(2, "red"))
    requests: list[int] = []
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            history.wait_for_request(0.05)
            if (request := history.catch_up_request) is not None:
                requests.append(request)
                history.caught_up(request, 3)

    reader = threading.Thread(target=read)
    reader.start()
    found = {history(version).version for version in range(3, 3 + KEPT_STRAYS + 10)}
    served = len(requests)
    assert history(KEPT_STRAYS).version == 2 and len(requests) == served, "still known for a stray"
    assert history(3).version == 2 and len(requests) == served + 1
    ended.set()
    reader.join(10)
    assert found == {2} and len(history._strays) == KEPT_STRAYS
