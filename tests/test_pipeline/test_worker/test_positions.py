import pytest

from pipeline.analysis.rewind import Committed
from pipeline.broker.contract import Position
from pipeline.worker.positions import METADATA_LIMIT, decode_position, encode_position


def test_a_position_survives_the_broker() -> None:
    """P, R, s and v come back from offset and metadata, which stays far below the broker's limit."""
    committed = Committed(position=2**62, rewind=2**62 - 1, state=2**62, labels=2**62)
    position = encode_position(committed)
    assert decode_position(position) == committed
    assert len(position.metadata) < METADATA_LIMIT / 10


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
