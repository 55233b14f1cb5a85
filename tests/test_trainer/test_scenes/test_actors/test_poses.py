import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.scenes.actors.poses import CHANNELS, INDEX, REST, bump, keyed, mirrored, pose


def test_a_pose_is_rest_but_for_what_is_named():
    """`legs_` and `arms_` set both sides, other names one channel."""
    row = pose(legs_knee=50, bend=10)
    changed = {name for name in CHANNELS if row[INDEX[name]] != REST[INDEX[name]]}
    assert changed == {"l_knee", "r_knee", "bend"}


def test_key_poses_are_reached_and_held_outside():
    """Poses go from key to key and stay at the first and the last one.

    bend      0___/ 60 \\___20
    time      0   1     2   3
    """
    keys = [(0.0, pose(bend=0)), (1.0, pose(bend=60)), (2.0, pose(bend=20))]
    found = keyed(np.array([-1.0, 0.0, 0.5, 1.0, 2.0, 3.0]), keys)[:, INDEX["bend"]]
    assert found.tolist() == [0.0, 0.0, 30.0, 60.0, 20.0, 20.0]


@given(st.lists(st.floats(-90, 90), min_size=len(CHANNELS), max_size=len(CHANNELS)))
def test_mirroring_twice_changes_nothing(values):
    """Left and right exchanged twice are as they were; once, a raised right arm becomes a raised left one."""
    poses = np.array([values])
    assert np.array_equal(mirrored(mirrored(poses)), poses)
    assert mirrored(poses)[0, INDEX["l_arm"]] == poses[0, INDEX["r_arm"]]


def test_a_bump_rises_holds_and_falls():
    """0 before, 1 while it is held, 0 after."""
    assert bump(np.array([-1.0, 0.0, 1.0, 1.5, 2.0, 3.0, 9.0]), 1.0, 1.0, 1.0) == pytest.approx([0, 0, 1, 1, 1, 0, 0])
