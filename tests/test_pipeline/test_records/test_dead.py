from pipeline.records.dead import encode_dead_letter
from pipeline.records.wire import Record


def test_a_dead_letter_says_where_and_why_and_keeps_a_little() -> None:
    """Headers name reason, place and size; of the record itself a KiB of value, key and each header is kept."""
    headers = (("kind", b"frame"), ("blob", b"z" * 9000), *((f"{number}" + "h" * 100_000, b"") for number in range(99)))
    bad = Record("actionwire.frames", 3, 17, b"k" * 5000, b"x" * 20_000_000, headers, 1234)
    letter = encode_dead_letter(bad, "jpeg", "a frame that is not a JPEG")
    found = dict(letter.headers)
    assert found["reason"] == b"jpeg" and found["message"] == b"a frame that is not a JPEG"
    assert (found["topic"], found["partition"], found["offset"]) == (b"actionwire.frames", b"3", b"17")
    assert found["timestamp_ms"] == b"1234" and found["value_bytes"] == b"20000000"
    assert found["original_kind"] == b"frame" and found["original_blob"] == b"z" * 1024
    assert letter.value == b"x" * 1024 and letter.key == b"k" * 1024 and len(letter.headers) < 50
    assert max(len(name) for name, _ in letter.headers) < 1100, (
        "names count too: the letter must fit where the record did"
    )


def test_an_empty_record_can_be_dead_too() -> None:
    """A record without key and value keeps that it had none."""
    letter = encode_dead_letter(Record("t", 0, 0, None, None), "empty", "nothing")
    assert letter.key is None and letter.value == b"" and dict(letter.headers)["value_bytes"] == b"none"
