"""Fail when the newest entry of CHANGELOG.md is not the version in pyproject.toml."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Compare the two and say what to do when they differ."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    newest = re.search(r"^## \[?(\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    if newest is None or newest.group(1) != version:
        found = newest.group(1) if newest else "none"
        print(
            f"CHANGELOG.md: newest entry is {found}, pyproject.toml says {version}; bring them together",
            file=sys.stderr,
        )
        return 1
    print(f"changelog and version agree: {version}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
