"""`actionwire topics`: create missing topics, correct their settings, refuse what cannot be corrected."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from pipeline.commands.options import Bootstrap, ConfigFile, Json, settings_from


def topics(
    check: Annotated[bool, typer.Option("--check", help="Change nothing; fail when something is missing.")] = False,
    as_json: Json = False,
    config: ConfigFile = None,
    bootstrap: Bootstrap = None,
) -> None:
    """Create the topics on the cluster, with the partition counts and settings that Actionwire relies on."""
    from pipeline.broker import connect
    from pipeline.broker.topics import apply_topics, check_topics, topic_settings

    settings = settings_from(config, bootstrap)
    broker = connect(settings.kafka)
    try:
        if check:
            check_topics(broker, settings)
            created: list[str] = []
        else:
            created = apply_topics(broker, settings)
        names = [one.name for one in topic_settings(settings)]
        found = broker.partition_counts(names, 10.0)
    finally:
        broker.close()
    if as_json:
        typer.echo(json.dumps({"created": created, "topics": {name: found[name] for name in names}}))
        return
    for name in names:
        state = "created" if name in created else "in order"
        typer.echo(f"{name:<28} {found[name]:>4} partitions  {state}")
