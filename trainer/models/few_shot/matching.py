"""What of windows and examples is compared."""

from __future__ import annotations

from typing import Literal

Matching = Literal["alignment", "whitened"]
"""Frames after the modulation, aligned in time; or frames and motion at the same place, whitened."""
