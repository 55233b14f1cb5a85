"""The words of the scenes: actions, colours, held-out pairs and the split a seed belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Split = Literal["train", "validate", "test"]
Pairs = Literal["seen", "unseen", "all"]


@dataclass(frozen=True)
class Action:
    """One action: its key, the canonical text, and the number of people who take part."""

    key: str
    label: str
    actors: int = 1


ACTIONS: tuple[Action, ...] = (
    Action("walk", "a person walks"),
    Action("run", "a person runs"),
    Action("fall", "a person falls down"),
    Action("sit_down", "a person sits down"),
    Action("stand_up", "a person stands up"),
    Action("jump", "a person jumps"),
    Action("wave", "a person waves"),
    Action("punch", "a person punches someone", 2),
    Action("kick", "a person kicks someone", 2),
    Action("hug", "two people hug", 2),
    Action("shake_hands", "two people shake hands", 2),
    Action("pick_up", "a person picks something up"),
    Action("throw", "a person throws something"),
    Action("crouch", "a person crouches"),
    Action("climb", "a person climbs"),
    Action("lie_still", "a person lies still"),
)
KEYS: tuple[str, ...] = tuple(action.key for action in ACTIONS)
BY_KEY: dict[str, Action] = {action.key: action for action in ACTIONS}

# RGB of a top as cloth in plain daylight; a drawn top varies around it.
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (200, 30, 35),
    "blue": (35, 70, 200),
    "green": (30, 140, 50),
    "yellow": (235, 205, 40),
    "orange": (240, 125, 25),
    "purple": (125, 45, 160),
    "white": (236, 236, 232),
    "black": (26, 26, 30),
}
# Tops that no caption names, so that a colour alone never says which actions are excluded.
UNNAMED_COLOURS: tuple[tuple[int, int, int], ...] = ((128, 128, 130), (40, 150, 155), (225, 140, 165), (120, 85, 55))

# One colour in eight is withheld per action, each colour from two actions: these sixteen pairs of the 128
# (colour of whoever acts, action) are never rendered for training. Actions that follow from each other (fall, lie
# still, stand up; sit down, stand up; crouch, stand up) share few colours, so that every colour keeps most of them.
HELD_OUT: dict[str, str] = {
    "walk": "green",
    "run": "orange",
    "fall": "purple",
    "sit_down": "yellow",
    "stand_up": "white",
    "jump": "blue",
    "wave": "red",
    "punch": "black",
    "kick": "green",
    "hug": "orange",
    "shake_hands": "yellow",
    "pick_up": "red",
    "throw": "purple",
    "crouch": "black",
    "climb": "white",
    "lie_still": "blue",
}


def allowed(key: str, colour: str | None, pairs: Pairs) -> bool:
    """Whether someone in `colour` (None: a colour without a name) may do the action `key` under the rule `pairs`."""
    unseen = HELD_OUT[key] == colour
    return pairs == "all" or unseen == (pairs == "unseen")


SPLIT_SIZE = 10_000


def split_of(seed: int) -> Split:
    """The split of a seed: 0-9999 train, 10000-19999 validate, 20000 and above test (tests and the demo)."""
    if seed < 0:
        raise ValueError(f"seed {seed} is negative; scene seeds count from 0")
    return "train" if seed < SPLIT_SIZE else "validate" if seed < 2 * SPLIT_SIZE else "test"
