"""Poses as rows of joint angles, and how they are interpolated, mirrored and blended.

A pose is a row of `CHANNELS` numbers: angles in degrees, offsets in metres. The body frame has x forward, y to the
person's left and z up; an angle of 0 everywhere is a person who stands upright with hanging arms.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Poses = NDArray[np.float64]  # [n, len(CHANNELS)]

CHANNELS: tuple[str, ...] = (
    "lift",  # metres above the ground
    "dx",  # metres forward of the place
    "dy",  # metres to the left of the place
    "anchor",  # 1: the feet stay where they are while hips and knees bend; 0: the pelvis does
    "tip_x",  # the whole body tipped over forward (90: prone)
    "tip_y",  # the whole body tipped over to the left
    "bend",  # the trunk bent forward
    "side",  # the trunk bent to the left
    "twist",  # shoulders turned to the left
    "head_turn",
    "head_nod",
    "l_hip",  # thigh forward
    "l_open",  # thigh outward
    "l_knee",  # shin back
    "r_hip",
    "r_open",
    "r_knee",
    "l_arm",  # upper arm forward (90: level, 180: up)
    "l_out",  # upper arm outward
    "l_fore",  # forearm forward, in the chest's frame
    "l_fore_out",
    "r_arm",
    "r_out",
    "r_fore",
    "r_fore_out",
)
INDEX: dict[str, int] = {name: place for place, name in enumerate(CHANNELS)}

REST = np.zeros(len(CHANNELS))
for _name, _value in {
    "l_out": 7,
    "r_out": 7,
    "l_fore": 12,
    "r_fore": 12,
    "l_open": 4,
    "r_open": 4,
    "anchor": 1,
}.items():
    REST[INDEX[_name]] = _value

_LEFT = [INDEX[name] for name in CHANNELS if name.startswith("l_")]
_RIGHT = [INDEX["r_" + name[2:]] for name in CHANNELS if name.startswith("l_")]
_LATERAL = [INDEX[name] for name in ("dy", "tip_y", "side", "twist", "head_turn")]


def pose(base: Poses = REST, **channels: float) -> Poses:
    """A pose that differs from `base` in the named channels; `arms_` and `legs_` stand for both sides."""
    row = base.copy()
    for name, value in channels.items():
        if name in INDEX:
            row[INDEX[name]] = value
        else:
            row[INDEX["l_" + name.split("_", 1)[1]]] = value
            row[INDEX["r_" + name.split("_", 1)[1]]] = value
    return row


def smooth(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Smoothstep from 0 to 1 over [0, 1], constant outside."""
    x = np.clip(x, 0.0, 1.0)
    return x * x * (3.0 - 2.0 * x)


def bump(t: NDArray[np.float64], rise: float, hold: float, fall: float) -> NDArray[np.float64]:
    """0 -> 1 in `rise` s, 1 for `hold` s, back to 0 in `fall` s."""
    return smooth(t / rise) * (1.0 - smooth((t - rise - hold) / fall))


def keyed(t: NDArray[np.float64], keys: Sequence[tuple[float, Poses]]) -> Poses:
    """Poses at times `t` [n] through key poses (time, pose), eased in and out of each, held outside."""
    times = np.array([time for time, _ in keys])
    table = np.stack([row for _, row in keys])
    after = np.clip(np.searchsorted(times, t, side="right"), 1, len(times) - 1)
    share = smooth((t - times[after - 1]) / np.maximum(times[after] - times[after - 1], 1e-6))[:, None]
    return table[after - 1] * (1.0 - share) + table[after] * share


def mirrored(poses: Poses) -> Poses:
    """The same poses with left and right exchanged."""
    out = poses.copy()
    out[:, _LEFT], out[:, _RIGHT] = poses[:, _RIGHT], poses[:, _LEFT]
    out[:, _LATERAL] *= -1.0
    return out


def put(poses: Poses, **channels: NDArray[np.float64] | float) -> Poses:
    """Set channels of all poses in place, and return them; `arms_` and `legs_` stand for both sides."""
    for name, value in channels.items():
        for channel in (name,) if name in INDEX else ("l_" + name.split("_", 1)[1], "r_" + name.split("_", 1)[1]):
            poses[:, INDEX[channel]] = value
    return poses


def add(poses: Poses, **channels: NDArray[np.float64] | float) -> Poses:
    """Add to channels of all poses in place, and return them."""
    for name, value in channels.items():
        poses[:, INDEX[name]] += value
    return poses
