"""From a person's segments to joints in metres, at any instants."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from trainer.scenes.actors.idling import IDLING
from trainer.scenes.actors.motions import ACTING
from trainer.scenes.actors.poses import INDEX, Poses, mirrored, smooth
from trainer.scenes.stage import Body, Person, Segment

Array = NDArray[np.float64]

MOTIONS = {**ACTING, **IDLING}
AWAY = "away"
_HABITS: dict[str, float] = {
    "bend": 2.5, "side": 1.5, "twist": 4.0, "head_nod": 5.0, "head_turn": 8.0, "l_arm": 4.0, "r_arm": 4.0, "l_out": 4.0,
    "r_out": 4.0, "l_fore": 6.0, "r_fore": 6.0, "l_open": 2.0, "r_open": 2.0,
}  # fmt: skip
BLEND = 0.3  # seconds from one segment's pose into the next one's
TURN = 0.45  # seconds from one heading to the next

JOINTS: tuple[str, ...] = (
    "pelvis", "neck", "head", "l_shoulder", "l_elbow", "l_wrist", "l_hand", "r_shoulder", "r_elbow", "r_wrist",
    "r_hand", "l_hip", "l_knee", "l_ankle", "l_toe", "r_hip", "r_knee", "r_ankle", "r_toe", "face",
)  # fmt: skip
JOINT: dict[str, int] = {name: place for place, name in enumerate(JOINTS)}
# How far flesh reaches below each joint when the body lies on it, as a fraction of the height.
_FLESH = np.array([0.07, 0.05, 0.062, 0.05, 0.025, 0.02, 0.02, 0.05, 0.025, 0.02, 0.02,
                   0.07, 0.035, 0.035, 0.02, 0.07, 0.035, 0.035, 0.02, 0.03])  # fmt: skip
_LIMBS = np.array([name[2:] in ("elbow", "wrist", "hand", "knee", "ankle", "toe") for name in JOINTS], np.float64)


def _along(path: Array, share: Array) -> Array:
    """Points at shares 0-1 of the length of a path [k, 2]."""
    lengths = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(path, axis=0).T))])
    want = share * lengths[-1]
    return np.stack([np.interp(want, lengths, path[:, 0]), np.interp(want, lengths, path[:, 1])], axis=-1)


def _place(segment: Segment, t: Array) -> tuple[Array, Array]:
    """Ground place [n, 2] and heading [n] at times."""
    path = np.array(segment.path)
    if len(path) == 1:
        return np.repeat(path, len(t), 0), np.full(len(t), segment.facing)
    seconds = segment.end - segment.start

    def share(at: Array) -> Array:
        u, ease = np.clip((at - segment.start) / seconds, 0, 1), 0.12
        slow = np.where(
            u < ease, u * u / (2 * ease), np.where(u > 1 - ease, 1 - ease - (1 - u) ** 2 / (2 * ease), u - ease / 2)
        )
        return slow / (1 - ease)

    inner = np.clip(t, segment.start + 0.16, segment.end - 0.16)
    ahead = _along(path, share(inner + 0.15)) - _along(path, share(inner - 0.15))
    return _along(path, share(t)), np.arctan2(ahead[:, 1], ahead[:, 0])


def _acted(segment: Segment, t: Array) -> Poses:
    """Poses of one segment at times, mirrored where it says so."""
    values = dict(segment.values)
    poses = MOTIONS[segment.motion](t - segment.start, segment.end - segment.start, values)
    return mirrored(poses) if values.get("mirror", 0.0) > 0.5 else poses


@lru_cache(maxsize=64)
def _habit(body: Body) -> Array:
    """A person's own bearing in every motion: a stoop, wide elbows, a turned head (degrees, constant)."""
    rng = np.random.default_rng(int(body.height * 1e6))
    habit = np.zeros(len(INDEX))
    for name, spread in _HABITS.items():
        habit[INDEX[name]] = rng.normal(0.0, spread)
    return habit


def perform(person: Person, times: Array) -> tuple[Poses, Array, Array, NDArray[np.bool_]]:
    """Poses [n, channels], ground places [n, 2], headings [n] and presence [n] of a person at `times` [n] (seconds)."""
    count = len(times)
    poses, places = np.zeros((count, len(INDEX))), np.zeros((count, 2))
    headings, present = np.zeros(count), np.zeros(count, bool)
    before: Segment | None = None
    for number, segment in enumerate(person.segments):
        last = number == len(person.segments) - 1
        here = np.flatnonzero((times >= segment.start) & ((times < segment.end) | last))
        if segment.motion == AWAY:
            before = None
            continue
        if len(here):
            t = times[here]
            pose, (place, heading) = _acted(segment, t), _place(segment, t)
            if before is not None and t.min() < segment.start + TURN:
                early = t < segment.start + TURN
                old = t[early]
                share = smooth((old - segment.start) / BLEND)[:, None]
                pose[early] = _acted(before, old) * (1 - share) + pose[early] * share
                turn = (heading[early] - _place(before, old)[1] + np.pi) % (2 * np.pi) - np.pi
                heading[early] -= turn * (1 - smooth((old - segment.start) / TURN))
            poses[here], places[here], headings[here], present[here] = pose, place, heading, True
        before = segment
    sway = 1.0 - np.minimum(1.0, (np.abs(poses[:, INDEX["tip_x"]]) + np.abs(poses[:, INDEX["tip_y"]])) / 45)
    poses += sway[:, None] * _habit(person.body)
    phase = 7.0 * person.body.height + 11.0 * person.body.girth
    poses[:, INDEX["side"]] += 0.9 * sway * np.sin(1.1 * times + phase)
    poses[:, INDEX["bend"]] += 0.8 * sway * np.sin(1.7 * times + 2 * phase)
    return poses, places, headings, present


def _sagittal(flex: Array, out: Array, side: float) -> Array:
    """Direction of a limb that hangs down, swung forward by `flex` and outward by `out` (radians): [n, 3]."""
    return np.stack([np.sin(flex) * np.cos(out), side * np.sin(out), -np.cos(flex) * np.cos(out)], axis=-1)


def _rotation(axis: str, angle: Array) -> Array:
    cos, sin, zero, one = np.cos(angle), np.sin(angle), np.zeros_like(angle), np.ones_like(angle)
    rows = {
        "x": (one, zero, zero, zero, cos, -sin, zero, sin, cos),
        "y": (cos, zero, sin, zero, one, zero, -sin, zero, cos),
        "z": (cos, -sin, zero, sin, cos, zero, zero, zero, one),
    }[axis]
    return np.stack(rows, axis=-1).reshape(-1, 3, 3)


def _turned(matrix: Array, vectors: Array) -> Array:
    return np.asarray(np.einsum("nij,nj->ni", matrix, vectors))


def _tipping(tip_x: Array, tip_y: Array) -> Array:
    """Rotation that tips upright towards (tip_x, tip_y) by their common length (radians)."""
    angle = np.hypot(tip_x, tip_y)
    safe = np.maximum(angle, 1e-9)
    kx, ky = -tip_y / safe, tip_x / safe
    cos, sin = np.cos(angle), np.sin(angle)
    rest = 1 - cos
    rows = (cos + kx * kx * rest, kx * ky * rest, ky * sin, kx * ky * rest, cos + ky * ky * rest, -kx * sin,
            -ky * sin, kx * sin, cos)  # fmt: skip
    return np.stack(rows, axis=-1).reshape(-1, 3, 3)


def joints(body: Body, poses: Poses, places: Array, headings: Array) -> Array:
    """Joint positions [n, len(JOINTS), 3] in metres; feet (or whatever is lowest) stand on the ground plus `lift`."""
    height = body.height
    angle = {name: np.deg2rad(poses[:, place]) for name, place in INDEX.items()}
    count = len(poses)
    out = np.zeros((count, len(JOINTS), 3))
    thigh = shin = 0.5 * (body.legs - 0.04) * height
    trunk = (0.815 - body.legs) * height
    upper, fore, hand = 0.172 * height, 0.15 * height, 0.045 * height

    chest = _rotation("y", angle["bend"]) @ _rotation("x", -angle["side"]) @ _rotation("z", angle["twist"])
    neck = chest[:, :, 2] * trunk
    out[:, JOINT["neck"]] = neck
    skull = chest @ _rotation("z", angle["head_turn"]) @ _rotation("y", angle["head_nod"])
    out[:, JOINT["head"]] = neck + (skull[:, :, 2] * 0.108 + skull[:, :, 0] * 0.012) * height
    out[:, JOINT["face"]] = out[:, JOINT["head"]] + (skull[:, :, 0] * 0.03 - skull[:, :, 2] * 0.012) * height
    for side, sign in (("l", 1.0), ("r", -1.0)):
        shoulder = neck + chest[:, :, 1] * (sign * body.shoulders * height) - chest[:, :, 2] * (0.022 * height)
        elbow = shoulder + upper * _turned(chest, _sagittal(angle[f"{side}_arm"], angle[f"{side}_out"], sign))
        along = _turned(chest, _sagittal(angle[f"{side}_fore"], angle[f"{side}_fore_out"], sign))
        hip = np.zeros((count, 3))
        hip[:, 1] = sign * 0.052 * height
        flex, open_ = angle[f"{side}_hip"], angle[f"{side}_open"]
        knee = hip + thigh * _sagittal(flex, open_, sign)
        low = flex - angle[f"{side}_knee"]
        ankle = knee + shin * _sagittal(low, open_, sign)
        point = 0.5 * low
        toe = ankle + 0.11 * height * np.stack(
            [np.cos(point), 0.12 * sign * np.ones(count), np.sin(point) - 0.16], axis=-1
        )
        for name, value in (("shoulder", shoulder), ("elbow", elbow), ("wrist", elbow + fore * along),
                            ("hand", elbow + (fore + hand) * along), ("hip", hip), ("knee", knee), ("ankle", ankle),
                            ("toe", toe)):  # fmt: skip
            out[:, JOINT[f"{side}_{name}"]] = value
    anchored = 0.5 * (out[:, JOINT["l_ankle"], 0] + out[:, JOINT["r_ankle"], 0])
    offset = poses[:, [INDEX["dx"], INDEX["dy"]]].copy()
    offset[:, 0] -= poses[:, INDEX["anchor"]] * anchored
    tip_x, tip_y = angle["tip_x"], angle["tip_y"]
    out = np.einsum("nij,nkj->nki", _tipping(tip_x, tip_y), out)
    tipped = np.hypot(tip_x, tip_y)
    reach = 0.6 * body.legs * height * np.sin(np.minimum(tipped, np.pi / 2)) / np.maximum(tipped, 1e-9)
    out[:, :, 0] += (offset[:, 0] + reach * tip_x)[:, None]
    out[:, :, 1] += (offset[:, 1] + reach * tip_y)[:, None]
    # Someone who lies rests on the trunk: limbs that would reach into the ground give way instead of lifting it.
    give = smooth((np.rad2deg(tipped) - 50.0) / 35.0)
    below = out[:, :, 2] - _FLESH * height + give[:, None] * _LIMBS
    out[:, :, 2] += (poses[:, INDEX["lift"]] - below.min(axis=1))[:, None]
    out[:, :, 2] = np.maximum(out[:, :, 2], _FLESH * height * 0.9)
    out = np.einsum("nij,nkj->nki", _rotation("z", headings), out)
    out[:, :, :2] += places[:, None]
    return np.asarray(out)
