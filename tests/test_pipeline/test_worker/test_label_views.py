"""Which set a version stands for, and what an engine makes of it."""

import threading
import time

import pytest

from pipeline.analysis.label_set import LabelSet
from pipeline.analysis.partition import LabelView
from pipeline.errors import BrokerTimeout
from pipeline.records.labels import Label
from pipeline.testing import ColourLabels
from pipeline.worker.label_views import KEPT_STRAYS, KEPT_VIEWS, KnownSets, Views


def colours(version: int, *names: str) -> LabelSet:
    """A set that watches for colours."""
    return LabelSet(tuple(Label(name, name) for name in names), version)


def test_a_version_that_was_compacted_away_is_the_next_one() -> None:
    """A marker of a version that no longer exists means the smallest above it, so every worker reads it alike.

    known versions   -1  .  .  2  .  5
    asked                0->2     4->5
    """
    known = KnownSets(limit_seconds=0)
    known.put(colours(2, "red"))
    known.put(colours(5, "blue"))
    known.answer(0, 8)
    assert [known(version).version for version in (-1, 0, 2, 4, 5)] == [-1, 2, 2, 5, 5]
    assert known(7).version == 5, "the end of the topic was a removal that is gone: nothing else is in force"
    assert known.newest.version == 5


def test_a_version_that_is_on_its_way_is_waited_for() -> None:
    """A marker may be read before the control record that it announces."""
    known = KnownSets()
    threading.Timer(0.05, known.put, [colours(3, "red")]).start()
    assert known(3).version == 3


def test_the_end_of_the_control_topic_decides_not_the_time() -> None:
    """A version counts as missing only once the topic was read to an end that was looked up after the question.

    asked     9?  ......................... 9?  ........ 2      and 9, once it was written
    read to       (out of reach: no answer)      3 = end
    """
    known = KnownSets(limit_seconds=0.01)
    known.put(colours(2, "red"))
    assert known.question is None
    with pytest.raises(BrokerTimeout, match="label set 9 is not known"):
        known(9)
    question = known.question
    assert question is not None
    answering = KnownSets()
    answering.put(colours(2, "red"))
    found: list[int] = []
    asking = threading.Thread(target=lambda: found.append(answering(9).version))
    asking.start()
    while (question := answering.question) is None:
        time.sleep(0.001)
    answering.answer(question - 1, 3)  # of an end that was looked up before
    asking.join(0.05)
    assert asking.is_alive()
    answering.answer(question, 3)
    asking.join(10)
    assert found == [2]
    assert answering(9).version == 2 and answering.question is None, "a stray is asked for once"
    answering.put(colours(9, "blue"))
    assert answering(9).version == 9


def test_only_the_newest_views_are_kept() -> None:
    """Sets that change with day and night would fill the memory in a year; one that is still asked for comes back."""
    known = KnownSets(complete=True)
    for version in range(100):
        known.put(colours(version, "red"))
    views = Views(lambda labels: ColourLabels.of(labels.version, ["red"]), known)

    assert [views(version).version for version in range(100)] == list(range(100))
    assert len(views._views) == KEPT_VIEWS
    assert views(3).version == 3


def test_a_set_is_embedded_once_for_each_engine_and_only_when_it_is_needed() -> None:
    """Two engines share what is known; each has views of its own."""
    known = KnownSets(complete=True)
    known.put(colours(0, "red"))
    known.put(colours(1, "red", "blue"))
    embedded: list[tuple[str, int]] = []

    def engine(name: str) -> Views:
        def embed(labels: LabelSet) -> LabelView:
            embedded.append((name, labels.version))
            return ColourLabels.of(labels.version, [label.id for label in labels.labels])

        return Views(embed, known)

    old, new = engine("old"), engine("new")
    assert [old(version).version for version in (0, 0, 1, 0)] == [0, 0, 1, 0]
    assert new(7).version == 1
    assert embedded == [("old", 0), ("old", 1), ("new", 1)]


def test_a_question_wakes_who_can_answer() -> None:
    """The reader of the control topic sleeps between two looks; whoever waits for it ends that at once."""
    known = KnownSets()
    known.put(colours(2, "red"))
    answers: list[int | None] = []

    def read() -> None:
        known.wait_for_question(60.0)
        answers.append(known.question)
        known.answer(known.question or 0, 3)

    reader = threading.Thread(target=read)
    reader.start()
    assert known(9).version == 2
    reader.join(10)
    assert answers == [1]
    known.wait_for_question(0.0)


def test_only_so_many_strays_are_remembered() -> None:
    """Markers of versions that never were may come for ever; one that was forgotten is asked for again."""
    known = KnownSets()
    known.put(colours(2, "red"))
    asked: list[int] = []
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            known.wait_for_question(0.05)
            if (question := known.question) is not None:
                asked.append(question)
                known.answer(question, 3)

    reader = threading.Thread(target=read)
    reader.start()
    found = {known(version).version for version in range(3, 3 + KEPT_STRAYS + 10)}
    questions = len(asked)
    assert known(KEPT_STRAYS).version == 2 and len(asked) == questions, "still known for a stray"
    assert known(3).version == 2 and len(asked) == questions + 1
    ended.set()
    reader.join(10)
    assert found == {2} and len(known._strays) == KEPT_STRAYS
