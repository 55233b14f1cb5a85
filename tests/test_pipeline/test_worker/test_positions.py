import pytest

from pipeline.analysis.rewind import MOST_BAD, Committed, Pictures
from pipeline.broker.contract import Position
from pipeline.worker.positions import METADATA_LIMIT, decode_position, encode_position


def test_a_position_survives_the_broker() -> None:
    """P, R, s and v come back from offset and metadata, which stays far below the broker's limit."""
    committed = Committed(position=2**62, rewind=2**62 - 1, state=2**62, labels=2**62)
    position = encode_position(committed)
    assert decode_position(position) == committed
    assert len(position.metadata) < METADATA_LIMIT / 10


@pytest.mark.parametrize("bad", [(), (4, 7), tuple(range(2**61, 2**61 + MOST_BAD))])
def test_the_pictures_that_are_needed_come_back(bad: tuple[int, ...]) -> None:
    """W, the windows for which it holds, and the bad pictures, as many as there may be."""
    committed = Committed(2**62, 4, 2, 1, Pictures(2**61, 16, 4, 2, bad))
    position = encode_position(committed)
    assert decode_position(position) == committed
    assert len(position.metadata) < METADATA_LIMIT


@pytest.mark.parametrize(
    "said",
    [
        "",
        ',"w":[5,8,4,1]',
        ',"b":[]',
        ',"b":[],"w":[5,8,4]',
        ',"b":[],"w":["5",8,4,1]',
        ',"b":[-1],"w":[5,8,4,1]',
        ',"b":[true],"w":[5,8,4,1]',
        ',"b":{},"w":[5,8,4,1]',
        f',"b":{[0] * (MOST_BAD + 1)},"w":[5,8,4,1]',
    ],
)
def test_a_position_that_does_not_say_which_pictures_are_needed_is_one_all_the_same(said: str) -> None:
    """Workers of an older version do not; then every picture from R on is decoded again."""
    assert decode_position(Position(7, f'{{"r":3,"s":0,"v":0{said}}}')) == Committed(7, 3, 0, 0)


def test_a_model_with_memory_says_how_far_back_it_sees() -> None:
    """Workers of an older version read a longer `w` as unknown; others must not take these frames for enough."""
    committed = Committed(9, 4, 2, 1, Pictures(5, 8, 4, 1, (6,), history=12))
    position = encode_position(committed)
    assert '"w":[5,8,4,1,12]' in position.metadata and decode_position(position) == committed


@pytest.mark.parametrize("ending", ["\0", "\0\0"])
def test_a_position_that_another_client_has_copied_is_read(ending: str) -> None:
    """Clients in C count the NUL at the end of a text among its bytes."""
    committed = Committed(position=9, rewind=4, state=2, labels=1)
    position = encode_position(committed)
    assert decode_position(Position(position.offset, position.metadata + ending)) == committed


@pytest.mark.parametrize(
    "metadata",
    ["", "\0", "{}", "[]", "no json", '{"r":8,"s":0,"v":0}', '{"r":-1,"s":0,"v":0}', '{"r":null,"s":0,"v":0}'],
)
def test_a_position_of_another_program_is_recognised(metadata: str) -> None:
    """Offsets that a tool moved carry no metadata of ours, or a rewind that lies behind them."""
    assert decode_position(Position(7, metadata)) is None
