"""`python -m pipeline.bench [--json]`: what the small commands cost, with a real broker of their own."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from pipeline.bench.command_cost import COMMANDS, cpu_seconds
from pipeline.broker import connect
from pipeline.broker.topics import apply_topics
from pipeline.config.kafka import KafkaSettings
from pipeline.config.settings import Settings
from pipeline.local.broker_node import BrokerNode


def main() -> None:
    """Measure, and print one line per command, or JSON."""
    with tempfile.TemporaryDirectory(prefix="actionwire-bench-") as folder, BrokerNode(Path(folder) / "broker") as node:
        file = Path(folder) / "actionwire.yaml"
        file.write_text(json.dumps({"kafka": {"bootstrap": node.bootstrap}}))
        broker = connect(KafkaSettings(bootstrap=node.bootstrap))
        apply_topics(broker, Settings(kafka=KafkaSettings(bootstrap=node.bootstrap)))
        broker.close()
        found = {name: round(cpu_seconds(arguments, file), 3) for name, arguments in COMMANDS.items()}
    if "--json" in sys.argv[1:]:
        print(json.dumps(found))
        return
    for name, seconds in found.items():
        print(f"{name:<24} {seconds:.3f}")


if __name__ == "__main__":
    main()
