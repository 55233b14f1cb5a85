"""`actionwire topics`: create missing topics, correct their settings, refuse what cannot be corrected."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from pipeline.commands.options import Bootstrap, ConfigFile, Json, settings_from


def topics(
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; fail when something is missing or differs.")
    ] = False,
    as_json: Json = False,
    config: ConfigFile = None,
    bootstrap: Bootstrap = None,
) -> None:
    """Create the topics on the cluster, with the partition counts and settings that Actionwire relies on."""
    from pipeline.broker import connect
    from pipeline.broker.topics import apply_topics, check_topics, compare_topics, topic_settings
    from pipeline.errors import ConfigurationError

    settings = settings_from(config, bootstrap)
    broker = connect(settings.kafka)
    try:
        if check:
            check_topics(broker, settings)
            created: list[str] = []
            if different := compare_topics(broker, settings):
                raise ConfigurationError(f"{'; '.join(different)}; bring settings in line with `actionwire topics`")
        else:
            created = apply_topics(broker, settings)
        wanted = topic_settings(settings)
        names = [one.name for one in wanted]
        found = broker.partition_counts(names, 10.0)
    finally:
        broker.close()
    if as_json:
        typer.echo(json.dumps({"created": created, "topics": {name: found[name] for name in names}}))
        return
    for one in wanted:
        state = "created" if one.name in created else "in order"
        copies = "one copy" if one.replication == 1 else f"{one.replication} copies"
        typer.echo(f"{one.name:<28} {found[one.name]:>4} partitions  {copies:<9}  {state}")
