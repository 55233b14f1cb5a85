"""Structured logs: what they hold, and what they never hold."""

from __future__ import annotations

import errno
import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
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


class Full(io.StringIO):
    """A file on a disk that is full."""

    def write(self, text: str) -> int:
        """As the operating system answers."""
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("format", ["json", "console"])
def test_a_line_that_cannot_be_written_stops_nobody(
    format: Literal["json", "console"], capsys: pytest.CaptureFixture[str]
) -> None:
    """On a full disk, or after the stream was closed, work goes on without its lines: ours and those of libraries."""
    for stream, closed in ((Full(), False), (io.StringIO(), True)):
        logs.configure(format, stream=stream)
        if closed:
            stream.close()
        structlog.get_logger().warning("ours")
        logging.getLogger("kafka").warning("theirs, to rtsp://ann:hunter2@10.0.0.7")

    assert capsys.readouterr() == ("", "")


def test_a_process_whose_log_has_no_room_goes_on() -> None:
    """The same with a real device that is full for ever, on which Python's own buffers lie in between."""
    code = "from pipeline import logs; import structlog; logs.configure()\n"
    code += "for number in range(9): structlog.get_logger().warning('x' * 5000)\nprint('done', flush=True)"

    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=full, timeout=60)

    assert done.stdout == b"done\n"


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
