"""What a demo takes from the environment: where the user's folders lie, and how to log in to a cluster. No more."""

from __future__ import annotations

from collections.abc import MutableMapping

from pipeline.config import Settings

_PREFIX = "ACTIONWIRE_"


def forget_settings(environment: MutableMapping[str, str], *, kafka: bool) -> None:
    """Remove the variables that hold settings of a deployment, for this process and all that it starts.

    They win over a settings file: a demo would write to the deployment's topics, change its labels, or measure with its
    thresholds. kafka: leave how to reach a cluster that was asked for, but not which one.
    """
    for name in [name for name in environment if _decides(name.upper(), kafka)]:
        del environment[name]


def _decides(name: str, kafka: bool) -> bool:
    if not name.startswith(_PREFIX):
        return False
    key = name.removeprefix(_PREFIX)
    section = key.partition("__")[0].lower()
    if section == "kafka" and kafka:
        return key in ("KAFKA", "KAFKA__BOOTSTRAP")  # the whole section as JSON names a cluster too
    return key == "CONFIG" or section in Settings.model_fields
