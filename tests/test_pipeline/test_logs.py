"""Structured logs: what they hold, and what they never hold."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any, Literal

import pytest
import structlog

from pipeline import logs


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leave logging as it was found."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level


def lines(output: io.StringIO) -> list[dict[str, Any]]:
    """The JSON lines that were written."""
    return [json.loads(line) for line in output.getvalue().splitlines()]


def test_a_line_names_camera_partition_and_offset() -> None:
    """What is bound around a piece of work is in each of its lines, and no longer after it."""
    output = io.StringIO()
    logs.configure("json", stream=output)
    log = structlog.get_logger()

    with structlog.contextvars.bound_contextvars(partition=3, offset=1200):
        log.warning("bad record", camera="yard", reason="jpeg")
    log.info("later")

    first, later = lines(output)
    assert first.pop("timestamp").endswith("Z")
    assert first == {
        "message": "bad record",
        "level": "warning",
        "camera": "yard",
        "partition": 3,
        "offset": 1200,
        "reason": "jpeg",
    }
    assert "partition" not in later


@pytest.mark.parametrize("format", ["json", "console"])
def test_credentials_never_reach_a_line(format: Literal["json", "console"]) -> None:
    """URLs lose user and password, telling names lose their values, wherever they stand."""
    output = io.StringIO()
    logs.configure(format, "debug", output)
    log = structlog.get_logger()
    url = "rtsp://user:hunter2@10.0.0.7/stream"

    log.info(f"opening {url}", url=url, nested={"list": [url, {"inner": url.encode()}]}, Password="hunter2")
    log.info("values", error=ValueError(url), sasl_plain_password="hunter2", tuple=(url,))
    try:
        raise ConnectionError(f"cannot reach {url}")
    except ConnectionError:
        log.exception("failed")
    logging.getLogger("kafka.conn").warning("cannot reach %s", url)
    try:
        raise ConnectionError(f"again {url}")
    except ConnectionError:
        logging.getLogger("kafka.conn").exception("library")

    assert "hunter2" not in output.getvalue()
    assert output.getvalue().count("rtsp://***@10.0.0.7/stream") >= 8


def test_other_libraries_come_the_same_way() -> None:
    """A warning of a library is a line like any other; its chatter is left out."""
    output = io.StringIO()
    logs.configure("json", "debug", output)

    logging.getLogger("kafka.client").info("chatter")
    logging.getLogger("kafka.client").warning("node %s went away", 1)

    (line,) = lines(output)
    assert (line["message"], line["level"], line["logger"]) == ("node 1 went away", "warning", "kafka.client")


def test_the_level_is_kept() -> None:
    """Lines below the level are not written."""
    output = io.StringIO()
    logs.configure("json", "warning", output)

    structlog.get_logger().info("quiet")
    structlog.get_logger().error("loud")

    assert [line["message"] for line in lines(output)] == ["loud"]


def test_configuring_again_takes_the_place() -> None:
    """The second configuration is the only one in force, for our lines and for those of libraries."""
    first, second = io.StringIO(), io.StringIO()
    logs.configure("json", stream=first)
    logs.configure("json", stream=second)

    structlog.get_logger().info("ours")
    logging.getLogger("kafka").warning("theirs")

    assert (first.getvalue(), [line["message"] for line in lines(second)]) == ("", ["ours", "theirs"])
