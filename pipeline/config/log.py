"""How to log."""

from __future__ import annotations

from typing import Literal

from pipeline.config.section import _Frozen


class LogSettings(_Frozen):
    """How to log. `console` for people, `json` for machines."""

    format: Literal["console", "json"] = "console"
    level: Literal["debug", "info", "warning", "error"] = "info"
