"""The motions of the actions: joint angles as functions of the time since a segment's beginning.

A motion is called as `motion(t, seconds, values)`: `t` [n] seconds since its beginning (it may lie outside the
segment, where two are blended), the segment's length, and its parameters by name. It returns poses [n, channels].
Motions of the two in a pair meet half-way: `gap` is the distance between their places in metres.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from trainer.scenes.actors.poses import REST, Poses, add, bump, keyed, pose, put, smooth

Times = NDArray[np.float64]
Values = Mapping[str, float]
Motion = Callable[[Times, float, Values], Poses]

SIT = pose(legs_hip=88, legs_knee=88, legs_open=8, bend=6, arms_arm=25, arms_out=8, arms_fore=75, arms_fore_out=-12)
CROUCH = pose(legs_hip=112, legs_knee=138, legs_open=14, bend=34, arms_arm=62, arms_out=10, arms_fore=80, head_nod=-5)
COVERED = pose(CROUCH, bend=48, arms_arm=120, arms_out=25, arms_fore=215, arms_fore_out=-30, head_nod=25)
DIP = pose(legs_hip=48, legs_knee=66, bend=28, arms_arm=-45, arms_fore=-25, anchor=1)


def lying(values: Values) -> Poses:
    """The pose of someone on the ground; `tip` is the direction of the fall (degrees, 0 forward, 90 to the left)."""
    angle, limbs = np.deg2rad(values.get("tip", 0.0)), values.get("limbs", 0.5)
    return pose(
        tip_x=90 * np.cos(angle), tip_y=90 * np.sin(angle), anchor=0, bend=4, head_turn=25 * (limbs - 0.5),
        l_hip=8 + 45 * limbs, l_knee=12 + 60 * limbs, r_hip=6, r_knee=14, legs_open=10,
        l_arm=20 + 90 * limbs, l_out=25 + 30 * limbs, l_fore=60 + 60 * limbs,
        r_arm=15, r_out=30 + 20 * limbs, r_fore=35,
    )  # fmt: skip


def _gait(t: Times, cadence: float, phase: float, stride: float, knee: float, arm: float, elbow: float) -> Poses:
    """Legs and arms of walking or running: `cadence` in double steps per second, angles in degrees."""
    poses = np.repeat(REST[None], len(t), 0)
    for side, turn in (("l", 0.0), ("r", np.pi)):
        cycle = 2 * np.pi * cadence * t + phase + turn
        hip = stride * np.sin(cycle) + 0.18 * stride
        swing = -arm * np.sin(cycle)
        bent = 8 + knee * np.maximum(0.0, np.cos(cycle + 0.35)) ** 1.3
        put(poses, **{f"{side}_hip": hip, f"{side}_knee": bent, f"{side}_arm": swing, f"{side}_fore": swing + elbow})
    return put(poses, anchor=0.0, twist=0.25 * arm * np.sin(2 * np.pi * cadence * t + phase))


def walk(t: Times, seconds: float, values: Values) -> Poses:
    """Walking, one foot always on the ground."""
    size = values.get("size", 1.0)
    poses = _gait(t, values.get("cadence", 0.95), values.get("phase", 0.0), 24 * size, 48 * size, 24 * size, 14)
    return put(poses, bend=3.0)


def run(t: Times, seconds: float, values: Values) -> Poses:
    """Running: long strides, bent arms, a forward lean, both feet off the ground twice a cycle."""
    size, cadence, phase = values.get("size", 1.0), values.get("cadence", 1.4), values.get("phase", 0.0)
    poses = _gait(t, cadence, phase, 46 * size, 95 * size, 48 * size, 88)
    lift = 0.09 * np.abs(np.sin(2 * np.pi * cadence * t + phase))
    return put(poses, bend=15.0, lift=lift, arms_out=14.0)


def fall(t: Times, seconds: float, values: Values) -> Poses:
    """A stagger, the fall, settling on the ground; `buckle` (0 to 1) says how much the knees give way first."""
    down, buckle = lying(values), values.get("buckle", 0.3)
    lean_x, lean_y = down[4] / 90, down[5] / 90
    reach = pose(arms_arm=75, arms_out=40, arms_fore=95)
    stagger = pose(reach, tip_x=-9 * lean_x, tip_y=-9 * lean_y, l_hip=30, l_knee=35, anchor=0, bend=6)
    tipping = pose(reach, tip_x=24 * lean_x, tip_y=24 * lean_y, r_hip=25 + 45 * buckle, r_knee=30 + 75 * buckle,
                   l_hip=8 + 60 * buckle, l_knee=18 + 80 * buckle, arms_arm=105, anchor=0)  # fmt: skip
    impact = pose(
        down, tip_x=84 * lean_x, tip_y=84 * lean_y, arms_arm=115, arms_fore=130, arms_out=30, l_hip=25, r_hip=18
    )
    return keyed(t, [(0.0, REST), (0.2 * seconds, stagger), (0.42 * seconds, tipping), (0.7 * seconds, impact),
                     (0.82 * seconds, pose(down, bend=10)), (seconds, down)])  # fmt: skip


def lie_still(t: Times, seconds: float, values: Values) -> Poses:
    """Lying on the ground, hardly breathing."""
    return add(np.repeat(lying(values)[None], len(t), 0), bend=0.8 * np.sin(1.6 * t))


def sit_down(t: Times, seconds: float, values: Values) -> Poses:
    """From standing onto a seat behind."""
    half = pose(legs_hip=58, legs_knee=62, bend=34, arms_arm=30, arms_fore=45)
    return keyed(t, [(0.0, REST), (0.45 * seconds, half), (0.88 * seconds, SIT), (seconds, SIT)])


def sit(t: Times, seconds: float, values: Values) -> Poses:
    """Sitting on a seat with small movements."""
    poses = np.repeat(SIT[None], len(t), 0)
    phase, size = values.get("phase", 0.0), values.get("size", 1.0)
    return add(poses, head_turn=22 * size * np.sin(0.7 * t + phase), bend=3 * np.sin(0.45 * t + 2 * phase),
               l_fore=9 * size * np.sin(1.1 * t + phase), r_fore=7 * size * np.sin(0.8 * t + 3 * phase))  # fmt: skip


def stand_up(t: Times, seconds: float, values: Values) -> Poses:
    """To standing from a seat (`from` 0), from a crouch (1) or from the ground (2)."""
    origin = int(values.get("from", 0))
    if origin == 0:
        half = pose(legs_hip=66, legs_knee=70, bend=42, arms_arm=45, arms_fore=70)
        return keyed(t, [(0.0, SIT), (0.32 * seconds, pose(SIT, bend=40)), (0.55 * seconds, half), (seconds, REST)])
    if origin == 1:
        half = pose(legs_hip=60, legs_knee=70, bend=30, arms_arm=30, arms_fore=45)
        held = COVERED if values.get("covered", 0.0) > 0.5 else CROUCH
        return keyed(t, [(0.0, held), (0.5 * seconds, half), (seconds, REST)])
    down = lying(values)
    up = pose(
        down, tip_x=0.5 * down[4], tip_y=0.5 * down[5], legs_hip=75, legs_knee=95, arms_arm=45, arms_fore=40, bend=18
    )
    low = pose(CROUCH, tip_x=0.08 * down[4], tip_y=0.08 * down[5])
    half = pose(legs_hip=62, legs_knee=74, bend=38, arms_arm=35, arms_fore=50)
    return keyed(t, [(0.0, down), (0.36 * seconds, up), (0.6 * seconds, low), (0.78 * seconds, half), (seconds, REST)])


def crouch(t: Times, seconds: float, values: Values) -> Poses:
    """Down into a crouch and staying there; `covered`: with the hands over the head."""
    held = COVERED if values.get("covered", 0.0) > 0.5 else CROUCH
    low = values.get("down", 0.8)
    poses = keyed(t, [(0.0, REST), (0.5 * low, pose(legs_hip=60, legs_knee=72, bend=26)), (low, held)])
    return add(poses, head_turn=14 * smooth((t - low) / 0.5) * np.sin(1.3 * t))


def jump(t: Times, seconds: float, values: Values) -> Poses:
    """Jumps on the spot, `count` of them: a dip, a flight of `height` metres with the arms up, a landing."""
    count = max(1, round(values.get("count", 2.0)))
    period, height = seconds / count, values.get("height", 0.35)
    air, dip = 0.5 * period, 0.3 * period
    cycle = np.clip(t, 0.0, seconds - 1e-6) % period
    up = pose(arms_arm=165, arms_out=20, arms_fore=172, legs_hip=6, legs_knee=10, anchor=1)
    tuck = pose(up, legs_hip=38, legs_knee=62)
    poses = keyed(cycle, [(0.0, REST), (0.85 * dip, DIP), (1.15 * dip, up), (dip + 0.5 * air, tuck),
                          (dip + 0.95 * air, up), (dip + air + 0.4 * (period - dip - air), pose(DIP, arms_arm=30)),
                          (period, REST)])  # fmt: skip
    flight = np.clip((cycle - dip) / air, 0.0, 1.0)
    return put(poses, lift=4 * height * flight * (1 - flight))


def wave(t: Times, seconds: float, values: Values) -> Poses:
    """One raised arm (or both: `both`) swinging from side to side `rate` times a second."""
    both, rate = values.get("both", 0.0) > 0.5, values.get("rate", 1.1)
    raised = pose(r_arm=20, r_out=118, r_fore=10, r_fore_out=168)
    if both:
        raised = pose(raised, l_arm=20, l_out=118, l_fore=10, l_fore_out=168)
    poses = keyed(t, [(0.0, REST), (0.4, raised), (seconds - 0.4, raised), (seconds, REST)])
    swing = bump(t, 0.4, seconds - 0.8, 0.4) * values.get("swing", 38.0) * np.sin(2 * np.pi * rate * (t - 0.3))
    add(poses, r_fore_out=swing, r_out=0.4 * swing)
    return add(poses, l_fore_out=swing, l_out=0.4 * swing) if both else poses


def throw(t: Times, seconds: float, values: Values) -> Poses:
    """Winding up, flinging forward (the thing leaves the hand at `RELEASE` of the time), following through."""
    wound = pose(
        r_arm=190, r_out=35, r_fore=245, twist=-42, bend=-16, l_arm=65, l_fore=75, l_hip=38, l_knee=34, anchor=0
    )
    flung = pose(r_arm=105, r_out=8, r_fore=100, twist=30, bend=20, l_arm=-30, l_hip=32, l_knee=22,
                 r_hip=-18, r_knee=20, dx=0.22, anchor=0)  # fmt: skip
    through = pose(flung, r_arm=25, r_fore=35, bend=40, twist=42, r_knee=40)
    if values.get("both", 0.0) > 0.5:
        wound = pose(wound, arms_arm=185, arms_out=12, arms_fore=235, twist=0)
        flung = pose(flung, arms_arm=105, arms_out=8, arms_fore=100, twist=0)
        through = pose(through, arms_arm=30, arms_fore=40, twist=0)
    return keyed(t, [(0.0, REST), (0.36 * seconds, wound), (0.44 * seconds, wound), (RELEASE * seconds, flung),
                     (0.7 * seconds, through), (seconds, REST)])  # fmt: skip


RELEASE = 0.56
GRASP = 0.45


def pick_up(t: Times, seconds: float, values: Values) -> Poses:
    """Bending down to a thing in front, grasping it at `GRASP` of the time, coming up with it in the hand."""
    low = pose(legs_hip=38, legs_knee=42, bend=88, r_arm=62, r_out=0, r_fore=66, l_arm=50, l_fore=62, head_nod=-15)
    if values.get("both", 0.0) > 0.5:
        low = pose(low, l_arm=62, l_fore=66, l_out=0, legs_hip=52, legs_knee=66, bend=78)
    held = pose(r_arm=18, r_fore=92, r_fore_out=-15, head_nod=18)
    if values.get("both", 0.0) > 0.5:
        held = pose(held, l_arm=18, l_fore=92, l_fore_out=-15)
    return keyed(t, [(0.0, REST), (0.4 * seconds, low), (0.52 * seconds, low), (0.9 * seconds, held), (seconds, held)])


def climb(t: Times, seconds: float, values: Values) -> Poses:
    """Up and down a ladder to `height` metres, hand over hand."""
    height, cadence = values.get("height", 0.8), values.get("cadence", 0.9)
    top = 0.55 * seconds
    lift = height * (smooth(t / top) - smooth((t - top) / (seconds - top)))
    poses = np.repeat(REST[None], len(t), 0)
    hold = bump(t, 0.35, seconds - 0.7, 0.35)
    for side, turn in (("l", 0.0), ("r", np.pi)):
        swing = np.sin(2 * np.pi * cadence * t + turn)
        put(poses, **{
            f"{side}_arm": hold * (128 + 30 * swing), f"{side}_fore": 12 + hold * (146 + 18 * swing),
            f"{side}_hip": hold * (42 - 34 * swing), f"{side}_knee": hold * (58 - 48 * swing),
            f"{side}_out": 12.0, f"{side}_open": 4 + 10 * hold,
        })  # fmt: skip
    return put(poses, lift=lift, anchor=0.0, side=4 * hold * np.sin(2 * np.pi * cadence * t))


def _meet(t: Times, seconds: float, values: Values, distance: float, share: float = 0.5) -> tuple[Times, float]:
    """Steps towards the other and back: forward offsets [n], and how long a step takes."""
    step = values.get("step", 0.45)
    return share * (values.get("gap", 1.1) - distance) * bump(t, step, seconds - 2 * step, step), step


def punch(t: Times, seconds: float, values: Values) -> Poses:
    """From a guard, blows with alternate fists, `count` of them."""
    forward, step = _meet(t, seconds, values, 0.66, share=1.0)
    guard = pose(arms_arm=38, arms_out=12, arms_fore=138, bend=8, l_hip=16, l_knee=22, r_hip=-12, r_knee=14, anchor=0)
    count = max(2, round(values.get("count", 3.0)))
    period = (seconds - 1.4 * step) / count
    keys = [(0.0, REST), (0.8 * step, guard)]
    for blow in range(count):
        side, other = ("r", "l") if blow % 2 == 0 else ("l", "r")
        hit = pose(guard, **{f"{side}_arm": 92, f"{side}_out": 0, f"{side}_fore": 92, f"{other}_fore": 145},
                   twist=32 if side == "r" else -32, bend=14)  # fmt: skip
        begin = 0.8 * step + blow * period
        keys += [(begin + 0.2 * period, guard), (begin + 0.5 * period, hit), (begin + 0.62 * period, hit),
                 (begin + period, guard)]  # fmt: skip
    return put(keyed(t, [*keys, (seconds, REST)]), dx=forward)


def kick(t: Times, seconds: float, values: Values) -> Poses:
    """Kicks with one leg, `count` of them: the knee drawn up, the leg shot out, back to the ground."""
    forward, step = _meet(t, seconds, values, 0.88, share=1.0)
    count = max(1, round(values.get("count", 2.0)))
    period = (seconds - 1.2 * step) / count
    ready = pose(arms_arm=25, arms_out=22, arms_fore=80, anchor=0)
    drawn = pose(ready, r_hip=78, r_knee=98, bend=-6, l_knee=10)
    shot = pose(ready, r_hip=88, r_knee=6, bend=-24, l_hip=-6, l_knee=12, arms_arm=-12, arms_out=42, arms_fore=25)
    keys = [(0.0, REST), (0.7 * step, ready)]
    for blow in range(count):
        begin = 0.7 * step + blow * period
        keys += [(begin + 0.3 * period, drawn), (begin + 0.5 * period, shot), (begin + 0.62 * period, shot),
                 (begin + 0.78 * period, drawn), (begin + period, ready)]  # fmt: skip
    return put(keyed(t, [*keys, (seconds, REST)]), dx=forward)


def recoil(t: Times, seconds: float, values: Values) -> Poses:
    """The one who is hit: thrown back at each blow (`low`: doubled up by kicks instead), arms held up."""
    low, count, step = values.get("low", 0.0) > 0.5, max(1, round(values.get("count", 3.0))), values.get("step", 0.45)
    begin = (0.7 if low else 0.8) * step
    period = (seconds - (1.2 if low else 1.4) * step) / count
    poses = np.repeat(REST[None], len(t), 0)
    since = t - begin
    inside = (since > 0) & (since < count * period)
    phase = np.where(inside, since % period / period, 0.0)
    hit = smooth((phase - 0.42) / 0.12) * (1 - smooth((phase - 0.6) / 0.4))
    up = bump(t - begin, 0.5, max(0.1, count * period - 0.8), 0.5)
    if low:
        return put(poses, bend=34 * hit, legs_hip=16 * hit, legs_knee=22 * hit, arms_arm=25 * hit + 12 * up,
                   arms_fore=12 + 45 * up + 25 * hit, arms_fore_out=-25 * up, dx=-0.10 * hit, anchor=0.0)  # fmt: skip
    return put(poses, tip_x=-17 * hit, bend=-14 * hit, head_nod=-28 * hit, arms_arm=12 * up, arms_fore=12 + 128 * up,
               arms_fore_out=-18 * up, dx=-0.16 * hit, l_hip=-14 * hit, r_hip=14 * hit, anchor=0.0)  # fmt: skip


def hug(t: Times, seconds: float, values: Values) -> Poses:
    """Stepping together, arms around the other, and apart again; `high`: over the other's shoulders."""
    forward, step = _meet(t, seconds, values, 0.27)
    high = values.get("high", 0.0) > 0.5
    offer = pose(arms_arm=70, arms_out=38, arms_fore=75, arms_fore_out=25, anchor=0)
    around = pose(arms_arm=84 if high else 48, arms_out=34, arms_fore=96 if high else 70, arms_fore_out=-68, bend=9,
                  head_nod=14, anchor=0)  # fmt: skip
    poses = keyed(t, [(0.0, REST), (0.6 * step, offer), (1.25 * step, around), (seconds - 1.1 * step, around),
                      (seconds - 0.5 * step, offer), (seconds, REST)])  # fmt: skip
    stepping = np.sin(np.pi * np.clip(t / step, 0, 1)) + np.sin(np.pi * np.clip((t - seconds + step) / step, 0, 1))
    pat = bump(t - 1.3 * step, 0.2, seconds - 2.8 * step, 0.3) * np.sin(2 * np.pi * values.get("rate", 1.0) * t)
    add(poses, l_fore=13 * pat, r_fore=8 * pat, l_hip=22 * stepping, l_knee=30 * stepping, r_hip=-14 * stepping)
    return put(poses, dx=forward, side=3.5 * np.sin(2.2 * t) * bump(t, step, seconds - 2 * step, step))


def shake_hands(t: Times, seconds: float, values: Values) -> Poses:
    """Right hands meet between the two and go up and down."""
    forward, step = _meet(t, seconds, values, 0.86)
    given = pose(r_arm=38, r_out=2, r_fore=84, r_fore_out=-14, bend=10, twist=12, l_fore=16)
    poses = keyed(t, [(0.0, REST), (step, given), (seconds - 0.45, given), (seconds, REST)])
    shaking = bump(t - step, 0.15, seconds - step - 0.75, 0.25) * np.sin(2 * np.pi * values.get("rate", 1.3) * t)
    add(poses, r_fore=15 * shaking, r_arm=8 * shaking)
    return put(poses, dx=forward)


ACTING: dict[str, Motion] = {
    "walk": walk, "run": run, "fall": fall, "sit_down": sit_down, "stand_up": stand_up, "jump": jump, "wave": wave,
    "punch": punch, "kick": kick, "hug": hug, "shake_hands": shake_hands, "pick_up": pick_up, "throw": throw,
    "crouch": crouch, "climb": climb, "lie_still": lie_still, "sit": sit, "recoil": recoil,
}  # fmt: skip
