"""The live demo while its broker dies."""

from pathlib import Path
from typing import Any

import pytest

from engines.testing import tiny_bundle
from pipeline.demo.live import _covered
from pipeline.demo.stage import Stage
from pipeline.errors import ActionwireError, BrokerTimeout
from pipeline.replay import coverage


@pytest.mark.kafka
def test_a_demo_ends_when_its_broker_dies(tmp_path: Path, long_topic: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed while the recorded frames are counted, the broker ends the demo with an error that names the topic."""
    worker = long_topic.settings.worker.model_copy(update={"bundle": str(tiny_bundle(tmp_path / "tiny"))})
    settings = long_topic.settings.model_copy(update={"worker": worker})
    stage = Stage(settings, long_topic.broker, long_topic.node, {}, {}, tmp_path, {})
    decode, decoded = coverage._decoded, []

    def decode_first(record: Any) -> Any:
        decoded.append(record)
        if len(decoded) == 1:
            stage.check_alive()
            long_topic.node.kill()
        return decode(record)

    monkeypatch.setattr(coverage, "_decoded", decode_first)

    with pytest.raises(BrokerTimeout, match=r"long\.frames: the broker sent nothing for 2 s.* then try again"):
        _covered(stage)
    assert 0 < len(decoded) < 100
    with pytest.raises(ActionwireError, match="the broker ended during the demo"):
        stage.check_alive()
