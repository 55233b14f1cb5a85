"""What people do while nothing of interest happens: standing, looking around, talking, a phone at the ear."""

from __future__ import annotations

import numpy as np

from trainer.scenes.actors.motions import Motion, Times, Values
from trainer.scenes.actors.poses import REST, Poses, add, bump, keyed, pose, put


def _spells(t: Times, values: Values, every: float, length: float) -> Times:
    """0 to 1 now and then: spells of about `length` s, one in `every` s."""
    return bump((t + values.get("phase", 0.0)) % every, 0.4, length, 0.5)


def stand(t: Times, seconds: float, values: Values) -> Poses:
    """Standing, the weight going from one leg to the other."""
    shift = np.tanh(2.5 * np.sin(0.55 * t + values.get("phase", 0.0)))
    poses = np.repeat(REST[None], len(t), 0)
    return add(poses, side=2.5 * shift, dy=0.03 * shift, l_knee=6 * (1 - shift), l_hip=3 * (1 - shift),
               r_knee=6 * (1 + shift), r_hip=3 * (1 + shift))  # fmt: skip


def look(t: Times, seconds: float, values: Values) -> Poses:
    """Looking around, the shoulders following a little."""
    phase = values.get("phase", 0.0)
    gaze = np.tanh(1.8 * np.sin(0.9 * t + phase)) + 0.3 * np.sin(2.1 * t + 2 * phase)
    return add(stand(t, seconds, values), head_turn=48 * gaze, twist=12 * gaze)


def talk(t: Times, seconds: float, values: Values) -> Poses:
    """Talking with small movements of the forearms."""
    phase, size = values.get("phase", 0.0), values.get("size", 1.0)
    speaking = _spells(t, values, 4.2, 2.0)
    beat = np.sin(5.3 * t + phase) + 0.6 * np.sin(7.9 * t + 2 * phase)
    poses = stand(t, seconds, values)
    add(poses, r_fore=speaking * size * (48 + 11 * beat), r_arm=speaking * 10, head_nod=3 * beat)
    return add(poses, l_fore=speaking * size * (30 + 9 * np.sin(4.4 * t + phase)))


def phone(t: Times, seconds: float, values: Values) -> Poses:
    """A phone at the ear."""
    poses = look(t, seconds, {**values, "size": 0.5})
    return put(poses, r_arm=48.0, r_out=30.0, r_fore=168.0, r_fore_out=-14.0 + 2 * np.sin(1.3 * t))


def crossed(t: Times, seconds: float, values: Values) -> Poses:
    """Standing with crossed arms."""
    return put(stand(t, seconds, values), arms_arm=22.0, arms_out=16.0, arms_fore=84.0, arms_fore_out=-58.0)


def hips(t: Times, seconds: float, values: Values) -> Poses:
    """Standing with the hands on the hips."""
    return put(look(t, seconds, values), arms_arm=-12.0, arms_out=48.0, arms_fore=14.0, arms_fore_out=-50.0)


def scratch(t: Times, seconds: float, values: Values) -> Poses:
    """A hand goes to the head now and then."""
    poses = stand(t, seconds, values)
    spell = _spells(t, values, 5.5, 1.0)
    wanted = pose(r_arm=70, r_out=40, r_fore=178, r_fore_out=-28)
    fidget = 5 * np.sin(9 * t) * spell
    return add(poses + spell[:, None] * (wanted - REST), r_fore=fidget)


def check_watch(t: Times, seconds: float, values: Values) -> Poses:
    """A look at the wrist, or at a phone in the hand, now and then."""
    poses = stand(t, seconds, values)
    spell = _spells(t, values, 6.0, 1.8)
    wanted = pose(l_arm=32, l_out=10, l_fore=108, l_fore_out=-38, head_nod=22)
    return poses + spell[:, None] * (wanted - REST)


def stretch(t: Times, seconds: float, values: Values) -> Poses:
    """Leaning a little to the side or forward and back, as one does when waiting."""
    lean = keyed((t + values.get("phase", 0.0)) % 7.0, [(0.0, REST), (1.5, REST), (2.4, pose(side=9, bend=6)),
                 (3.6, pose(side=-8, twist=18)), (5.0, REST), (7.0, REST)])  # fmt: skip
    return lean


IDLING: dict[str, Motion] = {
    "stand": stand, "look": look, "talk": talk, "phone": phone, "crossed": crossed, "hips": hips, "scratch": scratch,
    "check_watch": check_watch, "stretch": stretch,
}  # fmt: skip
