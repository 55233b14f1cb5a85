"""Sets of labels: what a person writes, what is in force, what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.analysis import label_set
from pipeline.analysis.label_set import (
    MOST_GROUPS,
    LabelSets,
    added,
    apply,
    collect,
    content_of,
    enrolled,
    from_settings,
    in_force,
    make,
    removed,
    slug,
)
from pipeline.config.labels import LabelSettings
from pipeline.errors import ConfigurationError
from pipeline.records.label_report import LabelReport
from pipeline.records.labels import (
    MOST_EXAMPLES,
    MOST_REPLACED,
    ConfigLabels,
    Label,
    LabelPart,
    LiveLabel,
    PartedLabels,
)

FALL = make({"text": "a person falls"})
RUN = make({"text": "a person runs"})


def test_the_union_is_in_force_and_its_version_is_the_newest_offset() -> None:
    """Every control record raises the version; reading one again changes nothing."""
    sets = apply(LabelSets(), ConfigLabels((FALL,)), 0)
    sets = apply(sets, LiveLabel(RUN.id, RUN), 4)

    assert [label.id for label in in_force(sets).labels] == ["a-person-falls", "a-person-runs"]
    assert in_force(sets).version == 4
    assert apply(sets, LiveLabel(RUN.id, None), 4) == sets
    assert in_force(apply(sets, LiveLabel(RUN.id, None), 5)).labels == (FALL,)


def test_before_the_first_record_nothing_is_in_force() -> None:
    """An empty control topic means no labels and version -1."""
    assert (in_force(LabelSets()).labels, in_force(LabelSets()).version) == ((), -1)


def test_a_live_label_hides_the_same_id_of_the_settings() -> None:
    """The last request counts, so thresholds of a label from the settings can be tried out live."""
    strict = make({"text": "a person falls", "enter": 0.9})
    sets = apply(LabelSets(), ConfigLabels((FALL,)), 0)
    tried = apply(sets, added(sets, strict), 1)

    assert in_force(tried).labels == (strict,)
    assert in_force(apply(tried, removed(tried, "a person falls"), 2)).labels == (FALL,)


def test_settings_become_labels() -> None:
    """Every setting of a label is kept; the id is made from the text."""
    settings = LabelSettings(text="  two people   fight ", group="all", cameras=("yard-*",), enter=0.8, confirm=3)

    assert make(settings.model_dump()) == Label(
        "two-people-fight", "two people fight", "all", ("yard-*",), enter=0.8, confirm=3
    )


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"text": "  "}, "'text' must be"),
        ({"text": "x", "tresholds": 1}, "unknown key 'tresholds'; known: id, text"),
        ({"text": "x", "enter": 1.5}, "'enter' of label 'x' must be between 0 and 1"),
        ({"text": "x", "enter": 0.4, "exit": 0.6}, "exit 0.6 is above enter 0.4"),
        ({"text": "x", "confirm": 1.5}, "'confirm'"),
        ({"text": "x", "confirm": True}, "'confirm'"),
        ({"text": "x", "max_seconds": float("inf")}, "'max_seconds'"),
        ({"text": "x", "id": "Not An Id"}, "must be 1 to 64"),
        ({"text": "x", "cameras": ()}, "'cameras' of label 'x' is empty"),
        ({"text": "x", "cameras": "yard"}, "must be a list"),
        ({"text": "x", "group": 3}, "'group'"),
        ({"text": "x" * 301}, "at most 300 characters"),
        ({"text": "x", "id": "x\n"}, "must be 1 to 64"),
    ],
)
def test_a_wrong_label_is_refused_with_its_reason(fields: dict[str, Any], words: str) -> None:
    """The message names the label, the key and what would be right."""
    with pytest.raises(ConfigurationError, match=words):
        make(fields)


def test_two_texts_with_one_id_are_refused() -> None:
    """Texts that differ only in what an id leaves out need an id of their own."""
    other = make({"text": "a person falls!"})

    with pytest.raises(ConfigurationError, match=r"'a person falls' and 'a person falls!' have the same id"):
        collect([FALL, other])
    with pytest.raises(ConfigurationError, match="choose another with --id"):
        added(apply(LabelSets(), ConfigLabels((FALL,)), 0), other)


def test_adding_again_replaces() -> None:
    """A live label of the same text takes the place of the earlier one."""
    sets = apply(LabelSets(), added(LabelSets(), RUN), 0)
    sets = apply(sets, added(sets, make({"text": "A person runs", "enter": 0.6})), 1)

    assert [(label.text, label.enter) for label in sets.live] == [("A person runs", 0.6)]


def test_removing_says_why_it_cannot() -> None:
    """A label of the settings must be removed there. For an unknown label the error lists those that can be removed."""
    sets = apply(apply(LabelSets(), ConfigLabels((FALL,)), 0), LiveLabel(RUN.id, RUN), 1)

    assert removed(sets, "a-person-runs") == removed(sets, "A person runs") == LiveLabel(RUN.id, None)
    with pytest.raises(ConfigurationError, match="comes from the settings file"):
        removed(sets, "a person falls")
    with pytest.raises(ConfigurationError, match="can be removed: a-person-runs"):
        removed(sets, "a person flies")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("A person falls down!", "a-person-falls-down"), ("Überfall", "uberfall"), ("人が倒れる", "label-")],
)
def test_an_id_is_made_of_letters_and_digits(text: str, wanted: str) -> None:
    """Accents are dropped; a text without Latin letters gets an id from its hash."""
    assert slug(text).startswith(wanted)


@given(st.text(min_size=1, max_size=300))
def test_every_text_has_a_valid_id(text: str) -> None:
    """Whatever the text, its id passes the check of ids, and is the same every time."""
    if text.strip():
        assert make({"text": text}).id == make({"text": text}).id


def test_a_replaced_content_is_remembered_and_what_is_in_force_is_not() -> None:
    """Every content that was in force is named by the record that follows, until it is in force again.

    record     fall      run       fall (asked for)
    replaced   -         fall      run
    """
    sets = LabelSets()
    for offset, (label, replaced) in enumerate([(FALL, []), (RUN, [FALL]), (FALL, [RUN])]):
        record = from_settings(sets, [label], edited=True)
        assert record == ConfigLabels((label,), tuple(content_of([one]) for one in replaced))
        sets = apply(sets, record, offset)
        assert (sets.content, sets.replaced) == (content_of([label]), record.replaced)


def test_whoever_merely_starts_puts_nothing_back() -> None:
    """A content that was replaced stays so; a new one, and one that is asked for, is put in force.

    topic      fall, run
    starts with   fall: nothing    run: nothing    fall and run: written    no labels: written
    edited to     fall: written    run: nothing
    """
    sets = apply(apply(LabelSets(), ConfigLabels((FALL,)), 0), ConfigLabels((RUN,)), 1)

    started = {labels: from_settings(sets, labels, edited=False) for labels in ((FALL,), (RUN,), (FALL, RUN), ())}
    assert [labels for labels, record in started.items() if record] == [(FALL, RUN), ()]
    assert from_settings(sets, [FALL], edited=True) is not None
    assert from_settings(sets, [RUN], edited=True) is None


def test_an_empty_list_is_a_content_of_its_own() -> None:
    """Where nothing was ever applied, `labels: []` is written, so that it can be replaced, and stays replaced."""
    empty = from_settings(LabelSets(), [], edited=False)
    assert empty == ConfigLabels(())
    sets = apply(apply(LabelSets(), empty, 0), ConfigLabels((FALL,)), 1)

    assert from_settings(sets, [], edited=False) is None
    assert from_settings(sets, [], edited=True) == ConfigLabels((), (content_of([FALL]),))


def test_a_content_is_what_labels_say_in_any_order() -> None:
    """The order in a file does not count, a threshold does."""
    assert content_of([FALL, RUN]) == content_of([RUN, FALL])
    assert content_of([FALL]) != content_of([replace(FALL, enter=0.5)])


def test_a_report_changes_nothing_that_is_in_force() -> None:
    """What workers say has no version; the newest of a group stands."""
    sets = apply(LabelSets(), ConfigLabels((FALL,)), 4)
    report = LabelReport("workers", "b" * 64, "demo", "0.1.0", 4, (("fall", "unknown"),), 1)

    told = apply(apply(sets, replace(report, refused=(), refused_count=0), 5), report, 6)

    assert in_force(told) == in_force(sets)
    assert told.reports == {"workers": report}


@pytest.mark.parametrize("text", ["a person waves \ud83d\udc4b", "\ud800"])
def test_half_a_character_is_no_text(text: str) -> None:
    """What a file escapes in halves cannot be written anywhere: it is refused in one line."""
    with pytest.raises(ConfigurationError, match=r"is not valid Unicode text; write it in UTF-8"):
        make({"text": text})


def test_what_strangers_write_fills_no_memory() -> None:
    """A thousand groups and a thousand contents: the newest are remembered."""
    sets = LabelSets()
    for number in range(1000):
        sets = apply(sets, LabelReport(f"group-{number}", "b", "n", "v", 0), 2 * number)
        sets = apply(sets, ConfigLabels((replace(FALL, text=f"text {number}"),)), 2 * number + 1)

    assert (len(sets.reports), len(sets.replaced)) == (MOST_GROUPS, MOST_REPLACED)
    assert "group-999" in sets.reports and sets.replaced[-1] == content_of([replace(FALL, text="text 998")])


def test_a_history_longer_than_is_remembered_is_written_once() -> None:
    """The record that follows a long history names its newest part, and nothing is left to be added to it."""
    sets = LabelSets()
    for number in range(MOST_REPLACED + 10):
        record = from_settings(sets, [replace(FALL, text=f"text {number}")], edited=True)
        assert record is not None
        sets = apply(sets, record, number)

        assert sets.replaced == record.replaced


def test_parts_are_in_force_once_they_are_named() -> None:
    """Neither parts alone nor a record whose parts are missing or another writer's change anything.

    offset     0 part 0    1 named      2 part 1    3 part 1     4 named
                           (2 parts)                (another's)  (2 parts)
    in force   -           -            -           -            -
    then       5 part 1    6 named
    in force   -           fall, run
    """
    fall, run, other = LabelPart(1, 0, (FALL,)), LabelPart(1, 1, (RUN,)), LabelPart(1, 1, (make({"text": "x"}),))
    named = PartedLabels(1, 2, content_of([FALL, RUN]), ("0" * 16,))
    sets = LabelSets()
    for offset, record in enumerate([fall, named, run, other, named, run]):
        sets = apply(sets, record, offset)
        assert (in_force(sets).labels, sets.version, sets.generation) == ((), -1, None)

    sets = apply(sets, named, 6)

    assert (in_force(sets).labels, sets.version, sets.generation) == ((FALL, RUN), 6, 1)
    assert (sets.replaced, sets.content) == (("0" * 16,), content_of([FALL, RUN]))
    assert not sets.parts, "what is in force waits for nothing"
    single = apply(sets, ConfigLabels((RUN,)), 7)
    assert (single.generation, single.replaced) == (None, ("0" * 16, content_of([FALL, RUN])))


def test_parts_of_the_other_generation_wait_on() -> None:
    """Whoever writes the next set meanwhile is not disturbed."""
    sets = apply(LabelSets(), LabelPart(0, 0, (FALL,)), 0)
    sets = apply(sets, LabelPart(1, 0, (RUN,)), 1)

    sets = apply(sets, PartedLabels(1, 1, content_of([RUN])), 2)

    assert (sets.config, dict(sets.parts)) == ((RUN,), {(0, 0): (FALL,)})
    assert apply(sets, PartedLabels(0, 1, content_of([FALL])), 3).config == (FALL,)


def test_waiting_parts_fill_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may write the topic may not fill a worker: a part too many is passed over, and with it its set."""
    monkeypatch.setattr(label_set, "MOST_IN_PARTS", 2)
    sets = apply(LabelSets(), LabelPart(0, 0, (FALL, RUN)), 0)

    assert apply(sets, LabelPart(0, 1, (make({"text": "x"}),)), 1) == sets
    assert apply(sets, LabelPart(0, 0, (RUN,)), 1).parts == {(0, 0): (RUN,)}


def test_examples_are_added_to_the_label_that_is_in_force() -> None:
    """A label of the settings keeps what it has; a new one begins with them; what it is not comes on top."""
    one, two = "0" * 16, "1" * 16
    strict = replace(FALL, enter=0.9)
    first = enrolled(apply(LabelSets(), ConfigLabels((strict,)), 0), FALL, [one])
    assert first == LiveLabel(FALL.id, replace(strict, examples=(one,)))
    sets = apply(LabelSets(), first, 1)
    assert enrolled(sets, FALL, [], [two]).label == replace(strict, examples=(one,), counterexamples=(two,))
    assert enrolled(LabelSets(), RUN, [one]).label == replace(RUN, examples=(one,))
    with pytest.raises(ConfigurationError, match="would have the id"):
        enrolled(sets, Label(FALL.id, "something else"), [two])
    with pytest.raises(ConfigurationError, match=f"at most {MOST_EXAMPLES} are kept"):
        enrolled(sets, FALL, [f"{number:016x}" for number in range(MOST_EXAMPLES)])


def test_other_settings_for_a_label_do_not_forget_what_was_shown() -> None:
    """`labels add` with the same text again changes thresholds and cameras, and keeps the examples."""
    taught = replace(RUN, examples=("0" * 16,), counterexamples=("1" * 16,))
    sets = apply(LabelSets(), LiveLabel(RUN.id, taught), 0)
    assert added(sets, replace(RUN, enter=0.8)).label == replace(taught, enter=0.8)
