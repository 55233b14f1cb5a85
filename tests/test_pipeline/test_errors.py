"""The error tree and the masking of credentials."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import errors
from pipeline.errors import ActionwireError, BadRecordError, mask


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("rtsp://viewer:secret@10.0.0.7/s", "rtsp://***@10.0.0.7/s"),
        ("rtsp://viewer:se@cret@10.0.0.7/s", "rtsp://***@10.0.0.7/s"),
        ("rtsp://viewer:2024/Summer@10.0.0.7/s", "rtsp://***@10.0.0.7/s"),
        ("rtsp://viewer@10.0.0.7/s", "rtsp://***@10.0.0.7/s"),
        ("cannot open 'rtsps://a:b@h:554/x?y=1': refused", "cannot open 'rtsps://***@h:554/x?y=1': refused"),
        ("rtsp://10.0.0.7/s", "rtsp://10.0.0.7/s"),
        ("mail a@b.example", "mail a@b.example"),
    ],
)
def test_credentials_in_a_url_are_masked(text: str, masked: str) -> None:
    """User name and password vanish, host and path stay."""
    assert mask(text) == masked


@given(st.from_regex(r"[A-Za-z0-9!$%&*+,;=:@._~/?#-]{1,30}", fullmatch=True))
def test_no_password_survives(password: str) -> None:
    """Whatever the password holds, an @, a colon or a slash included, none of it is left."""
    assert mask(f"rtsp://user:{password}@host/path") == "rtsp://***@host/path"


def test_every_error_is_in_the_tree() -> None:
    """Every error class of the module derives from the root, so one except clause at the edge is enough."""
    classes = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]

    assert len(classes) > 8
    assert all(issubclass(found, ActionwireError) for found in classes)


def test_a_bad_record_has_a_reason() -> None:
    """The reason is short, so it can be counted."""
    assert BadRecordError("jpeg", "not a JPEG").reason == "jpeg"
