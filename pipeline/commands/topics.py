"""`actionwire topics`: create what is missing, bring settings in line, refuse what cannot be mended."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from pipeline.options import Bootstrap, ConfigFile, Json, settings_from


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
    finally:
        broker.close()
    wanted = topic_settings(settings)
    if as_json:
        typer.echo(json.dumps({"created": created, "topics": {one.name: one.partitions for one in wanted}}))
        return
    for one in wanted:
        state = "created" if one.name in created else "in order"
        typer.echo(f"{one.name:<28} {one.partitions:>4} partitions  {state}")
