"""How to log."""

from __future__ import annotations

from typing import Literal

from pipeline.config.section import Section


class LogSettings(Section):
    """How to log, on stderr."""

    format: Literal["console", "json"] = "console"
    """`console` is for people, `json` for machines: one object per line."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """Lines below this level are left out."""
