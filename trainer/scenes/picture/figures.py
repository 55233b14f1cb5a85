"""People as shaded convex shapes: joints in metres to polygons in pixels, drawn from the farthest to the nearest."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.scenes.actors.skeleton import JOINT
from trainer.scenes.picture.camera import project, to_pixels
from trainer.scenes.stage import Body, Camera

Array = NDArray[np.float64]
Rgb = tuple[int, int, int]

SHIFT = 4  # bits of sub-pixel places in OpenCV's drawing
_ARC = np.linspace(-np.pi / 2, np.pi / 2, 5)
_RING = np.linspace(0, 2 * np.pi, 8, endpoint=False)

# Limbs: name, first joint, radius, second joint, radius (fractions of the height), cloth, shade, outlined.
_LIMBS: tuple[tuple[str, float, str, float, str, float, bool], ...] = (
    ("l_hip", 0.054, "l_knee", 0.038, "trousers", 0.84, False),
    ("r_hip", 0.054, "r_knee", 0.038, "trousers", 0.96, False),
    ("l_knee", 0.037, "l_ankle", 0.024, "shins", 0.82, False),
    ("r_knee", 0.037, "r_ankle", 0.024, "shins", 0.94, False),
    ("l_ankle", 0.026, "l_toe", 0.019, "shoes", 0.9, False),
    ("r_ankle", 0.026, "r_toe", 0.019, "shoes", 1.0, False),
    ("l_shoulder", 0.036, "l_elbow", 0.029, "top", 0.84, True),
    ("r_shoulder", 0.036, "r_elbow", 0.029, "top", 0.94, True),
    ("l_elbow", 0.028, "l_wrist", 0.021, "sleeves", 0.86, True),
    ("r_elbow", 0.028, "r_wrist", 0.021, "sleeves", 0.96, True),
    ("l_wrist", 0.022, "l_hand", 0.02, "skin", 0.92, False),
    ("r_wrist", 0.022, "r_hand", 0.02, "skin", 1.0, False),
    ("neck", 0.03, "head", 0.03, "skin", 0.85, False),
)
_FIRST = np.array([JOINT[limb[0]] for limb in _LIMBS])
_SECOND = np.array([JOINT[limb[2]] for limb in _LIMBS])
_RADII = np.array([(limb[1], limb[3]) for limb in _LIMBS])
_TORSO = np.array([JOINT[name] for name in ("l_shoulder", "r_shoulder", "l_hip", "r_hip")])
_TORSO_RADII = np.array([0.046, 0.046, 0.058, 0.058])
OUTLINE = 1.35


def _fixed(points: Array) -> NDArray[np.int32]:
    return np.rint(points * (1 << SHIFT)).astype(np.int32)


def capsules(first: Array, second: Array, first_radius: Array, second_radius: Array) -> Array:
    """Outlines [..., 10, 2] of the hulls of two circles each, in the unit of the inputs."""
    angle = np.arctan2(second[..., 1] - first[..., 1], second[..., 0] - first[..., 0])[..., None]
    ends = angle + _ARC
    starts = angle + np.pi + _ARC
    far = second[..., None, :] + second_radius[..., None, None] * np.stack([np.cos(ends), np.sin(ends)], axis=-1)
    near = first[..., None, :] + first_radius[..., None, None] * np.stack([np.cos(starts), np.sin(starts)], axis=-1)
    return np.concatenate([far, near], axis=-2)


def shaded(rgb: Rgb, shade: float) -> tuple[float, float, float]:
    """A colour made darker or lighter, within 0-255."""
    return (min(255.0, rgb[0] * shade), min(255.0, rgb[1] * shade), min(255.0, rgb[2] * shade))


class Figure:
    """One person's polygons at n instants, ready to be drawn one frame at a time."""

    def __init__(self, body: Body, joints: Array, camera: Camera, size: tuple[int, int]):
        """`joints` [n, joints, 3] in metres; `size` the picture's (width, height)."""
        places, scale = project(camera, joints)
        unit = scale * body.height
        first, second = places[:, _FIRST], places[:, _SECOND]
        girth = body.girth
        radii = (girth * unit[:, _FIRST] * _RADII[:, 0], girth * unit[:, _SECOND] * _RADII[:, 1])
        self._limbs = _fixed(to_pixels(camera, capsules(first, second, *radii), size))
        grown = (radii[0] * OUTLINE, radii[1] * OUTLINE)
        self._grown = _fixed(to_pixels(camera, capsules(first, second, *grown), size))
        ring = np.stack([np.cos(_RING), np.sin(_RING)], axis=-1)
        circles = places[:, _TORSO, None] + (girth * unit[:, _TORSO] * _TORSO_RADII)[..., None, None] * ring
        pixels = to_pixels(camera, circles, size)
        self._torso = _fixed(pixels.reshape(len(joints), -1, 2))
        self._belt = _fixed(pixels[:, 2:].reshape(len(joints), -1, 2))
        head, face, top = places[:, JOINT["head"]], places[:, JOINT["face"]], unit[:, JOINT["head"]]

        def disc(middle: Array, radius: Array) -> NDArray[np.int32]:
            return _fixed(to_pixels(camera, middle[:, None] + radius[:, None, None] * ring, size))

        self._hair = disc(head - 0.25 * (face - head), top * (0.07 if body.long_hair else 0.063))
        self._face = disc(face, top * 0.049)
        self._drape = _fixed(
            to_pixels(
                camera, capsules(head - 0.5 * (face - head), places[:, JOINT["neck"]], top * 0.062, top * 0.05), size
            )
        )
        depth = joints[..., 1] - 0.35 * joints[..., 2]
        middles = 0.5 * (depth[:, _FIRST] + depth[:, _SECOND])
        self._order = np.argsort(
            -np.concatenate([middles, depth[:, _TORSO].mean(1)[:, None], depth[:, [JOINT["head"]]]], axis=1), axis=1
        )
        self._turned_away = joints[:, JOINT["face"], 1] > joints[:, JOINT["head"], 1] + 0.012 * body.height
        self._body = body
        cloth = {
            "trousers": body.trousers_rgb, "shins": body.skin_rgb if body.shorts else body.trousers_rgb,
            "shoes": body.shoes_rgb, "top": body.top_rgb, "skin": body.skin_rgb,
            "sleeves": body.top_rgb if body.long_sleeves else body.skin_rgb,
        }  # fmt: skip
        self._colours = [shaded(cloth[limb[4]], limb[5]) for limb in _LIMBS]
        self._edges = [shaded(cloth[limb[4]], 0.6 * limb[5]) if limb[6] else None for limb in _LIMBS]

    def draw(self, picture: NDArray[np.uint8], frame: int) -> None:
        """Draw the person of instant `frame` into the picture [H, W, 3]."""
        torso, head = len(_LIMBS), len(_LIMBS) + 1
        for part in self._order[frame].tolist():
            if part < torso:
                edge = self._edges[part]
                if edge is not None:
                    cv2.fillConvexPoly(picture, self._grown[frame, part], edge, cv2.LINE_AA, SHIFT)
                cv2.fillConvexPoly(picture, self._limbs[frame, part], self._colours[part], cv2.LINE_AA, SHIFT)
            elif part == torso:
                cv2.fillConvexPoly(picture, cv2.convexHull(self._torso[frame]), self._body.top_rgb, cv2.LINE_AA, SHIFT)
                belt = shaded(self._body.trousers_rgb, 0.92)
                cv2.fillConvexPoly(picture, cv2.convexHull(self._belt[frame]), belt, cv2.LINE_AA, SHIFT)
            elif part == head:
                self._draw_head(picture, frame)

    def _draw_head(self, picture: NDArray[np.uint8], frame: int) -> None:
        layers = [(self._hair[frame], self._body.hair_rgb), (self._face[frame], self._body.skin_rgb)]
        if self._turned_away[frame]:
            layers.reverse()
        if self._body.long_hair:
            layers.insert(len(layers) if self._turned_away[frame] else 0, (self._drape[frame], self._body.hair_rgb))
        for polygon, rgb in layers:
            cv2.fillConvexPoly(picture, polygon, rgb, cv2.LINE_AA, SHIFT)


def shadow_polygons(
    body: Body, joints: Array, camera: Camera, size: tuple[int, int], sun: tuple[float, float]
) -> NDArray[np.int32]:
    """The shadows on the ground as polygons [n, parts, 10, 2] in fixed point; `sun`: shift per metre of height."""
    flat = joints.copy()
    flat[..., 0] += sun[0] * joints[..., 2]
    flat[..., 1] += sun[1] * joints[..., 2]
    flat[..., 2] = 0.0
    places, scale = project(camera, flat)
    pairs = (("l_hip", "l_ankle", 0.05), ("r_hip", "r_ankle", 0.05), ("pelvis", "neck", 0.1), ("neck", "head", 0.06),
             ("l_shoulder", "l_hand", 0.035), ("r_shoulder", "r_hand", 0.035))  # fmt: skip
    first, second = np.array([JOINT[a] for a, _, _ in pairs]), np.array([JOINT[b] for _, b, _ in pairs])
    radius = np.array([r for _, _, r in pairs]) * body.height * scale[:, first]
    return _fixed(to_pixels(camera, capsules(places[:, first], places[:, second], radius, radius), size))
