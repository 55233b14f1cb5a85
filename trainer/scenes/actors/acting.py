"""A play in the making: actors, their places and postures, and the episodes that turn one state into the next."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from trainer.scenes.actors.skeleton import AWAY, joints, perform
from trainer.scenes.picture.camera import inside
from trainer.scenes.stage import Body, Camera, Event, Light, Person, Scene, Segment, Thing
from trainer.scenes.vocabulary import BY_KEY, KEYS, Pairs, allowed

Rng = np.random.Generator
Point = tuple[float, float]

Values = tuple[tuple[str, float], ...]

LEAD, TAIL = 0.12, 0.15  # seconds of a segment before its action shows, and after it is over
STANDING, SITTING, LYING, ABSENT = "standing", "sitting", "lying", "absent"
NEAR, FAR = 0.9, 1.7  # metres between two who can act together without an approach
VISIBLE = 0.5  # share of the joints inside the picture from which on someone is seen
_IDLE = ("stand", "stand", "look", "look", "talk", "phone", "crossed", "hips", "scratch", "check_watch", "stretch")


@dataclass(eq=False)
class Actor:
    """One of the cast while the play is being made."""

    number: int
    body: Body
    place: Point
    facing: float
    posture: str = STANDING
    seat: bool = False
    ladder: bool = False
    home: Point = (0.0, 0.0)
    home_facing: float = 0.0
    free_at: float = 0.0
    segments: list[Segment] = field(default_factory=list)
    lying: Values = ()


def heading(a: Point, b: Point) -> float:
    """The heading from one ground point to another, radians."""
    return math.atan2(b[1] - a[1], b[0] - a[0])


def distance(a: Point, b: Point) -> float:
    """Metres between two ground points."""
    return math.hypot(b[0] - a[0], b[1] - a[1])


def mirrored(play: Play) -> tuple[str, float]:
    """Left or right at random, as a motion's parameter."""
    return ("mirror", float(play.rng.random() < 0.5))


class Play:
    """Builds one scene: `settle` gives the first postures, episodes append segments and events, `finish` closes it."""

    def __init__(
        self, seed: int, seconds: float, place: str, camera: Camera, light: Light, pairs: Pairs, rng: Rng, wide: float
    ):
        """`wide`: how far from the middle people may stand, metres."""
        self.seed, self.seconds, self.place, self.camera, self.light = seed, seconds, place, camera, light
        self.pairs, self.rng, self.wide = pairs, rng, wide
        self.actors: list[Actor] = []
        self.things: list[Thing] = []
        self.events: list[Event] = []
        self.counts: dict[str, int] = dict.fromkeys(KEYS, 0)

    def uniform(self, low: float, high: float) -> float:
        """A number between two, every one as likely."""
        return float(self.rng.uniform(low, high))

    def add_actor(self, body: Body, place: Point) -> None:
        """Add someone who stands at a place, facing somewhere between left, the camera and right."""
        facing = float(self.rng.uniform(-math.pi - 0.35, 0.35))
        actor = Actor(len(self.actors), body, place, facing, home=place, home_facing=facing)
        self.actors.append(actor)

    def settle(self, star: str | None = None) -> None:
        """Seats, ladders and first postures; `star`: what the first actor has to be ready for."""
        rng = self.rng
        for actor in self.actors:
            lead = star is not None and actor.number < BY_KEY[star].actors
            wants_seat = star in ("sit_down", "stand_up") if lead else rng.random() < (0.4 if star is None else 0.12)
            wants_ladder = (
                star == "climb" if lead else not wants_seat and rng.random() < (0.45 if star is None else 0.08)
            )
            if wants_seat:
                self._give_seat(actor)
            elif wants_ladder:
                self._give_ladder(actor)
            if star is None and rng.random() < 0.07 and len(self.actors) > 1:
                actor.posture = ABSENT
            elif actor.seat and not lead and rng.random() < 0.45:
                actor.posture = SITTING

    def _give_seat(self, actor: Actor) -> None:
        actor.facing = actor.home_facing = float(
            self.rng.choice([-2.75, -2.4, -2.0, -1.15, -0.75, -0.4]) + self.rng.normal(0, 0.1)
        )
        back = 0.26 * actor.body.height
        at = (actor.place[0] - back * math.cos(actor.facing), actor.place[1] - back * math.sin(actor.facing) + 0.05)
        shade = int(self.rng.integers(60, 150))
        size = (float(self.rng.uniform(0.5, 1.1)), 0.245 * actor.body.height)
        self.things.append(Thing("seat", at, size, (shade, int(0.8 * shade), int(0.62 * shade))))
        actor.seat = True

    def _give_ladder(self, actor: Actor) -> None:
        heading = float(math.pi / 2 + self.rng.uniform(-0.9, 0.9))
        at = (actor.place[0] + 0.34 * math.cos(heading), actor.place[1] + 0.34 * math.sin(heading))
        shade = int(self.rng.integers(50, 190))
        size = (float(self.rng.uniform(0.4, 0.6)), float(self.rng.uniform(2.2, 3.0)))
        self.things.append(Thing("ladder", at, size, (shade, shade, int(0.8 * shade)), phase=heading))
        actor.ladder = True

    def idle_until(self, actor: Actor, until: float, towards: float | None = None) -> None:
        """Fill an actor's time with what is of no interest; from `until` on the heading is `towards`."""
        rng = self.rng
        while actor.free_at < until - 1e-9:
            left = until - actor.free_at
            length = left if left < 6.0 else float(rng.uniform(2.5, 5.5))
            motion = {SITTING: "sit", LYING: "lie_still", ABSENT: AWAY}.get(actor.posture)
            values: Values = actor.lying if actor.posture == LYING else ()
            if motion is None:
                motion = str(rng.choice(_IDLE))
                if not actor.seat and not actor.ladder and rng.random() < 0.5:
                    actor.facing = actor.home_facing + float(rng.normal(0, 0.35))
                partner = self.partner(actor)
                if partner is not None and rng.random() < 0.5:
                    motion, actor.facing = "talk", heading(actor.place, partner.place)
            if actor.posture in (STANDING, SITTING):
                values = (("phase", float(rng.uniform(0, 6.28))), ("size", float(rng.uniform(0.6, 1.2))),
                          ("mirror", float(rng.random() < 0.5)))  # fmt: skip
            self.append(actor, motion, length, values)
        if towards is not None:
            actor.facing = towards

    def partner(self, actor: Actor) -> Actor | None:
        """Someone standing close enough to talk to."""
        for other in self.actors:
            if other is not actor and other.posture == STANDING and distance(actor.place, other.place) < FAR:
                return other
        return None

    def append(
        self,
        actor: Actor,
        motion: str,
        seconds: float,
        values: Values = (),
        path: tuple[Point, ...] = (),
    ) -> Segment:
        """Append a segment where the actor's time ends; without a path it happens on the spot."""
        segment = Segment(
            motion, actor.free_at, actor.free_at + seconds, path or (actor.place,), actor.facing, tuple(values)
        )
        actor.segments.append(segment)
        actor.free_at += seconds
        return segment

    def record(self, key: str, start: float, end: float, *actors: Actor) -> None:
        """Put an action into the truth, unless it is too short to be seen; whoever acts first comes first."""
        if end - start >= 0.3:
            tops = tuple(actor.body.top for actor in actors)
            numbers = tuple(actor.number for actor in actors)
            self.events.append(Event(key, BY_KEY[key].label, start, end, tops, numbers))
            self.counts[key] += 1

    def may(self, actor: Actor, *keys: str) -> bool:
        """Whether someone's colour allows all these actions under the play's rule."""
        return all(allowed(key, actor.body.top, self.pairs) for key in keys)

    def seen(self, actor: Actor, segment: Segment) -> tuple[float, float] | None:
        """From when to when someone is in the picture during a segment, or None."""
        times = np.arange(segment.start, segment.end, 0.04)
        poses, places, headings, present = perform(Person(actor.body, (segment,)), times)
        body = joints(actor.body, poses, places, headings)
        visible = present & (inside(self.camera, body).mean(axis=1) >= VISIBLE)
        if not visible.any():
            return None
        first, last = np.flatnonzero(visible)[[0, -1]]
        return float(times[first]), float(min(segment.end, times[last] + 0.04))

    def finish(self) -> Scene:
        """Close the play: everyone idles to the end; the events in the order of their beginnings."""
        for actor in self.actors:
            self.idle_until(actor, max(self.seconds, actor.free_at) + 0.5)
        events = [
            Event(
                event.key,
                event.label,
                round(event.start, 3),
                round(min(event.end, self.seconds), 3),
                event.actors,
                event.people,
            )
            for event in sorted(self.events, key=lambda event: (event.start, event.key, event.people))
            if event.start < self.seconds - 0.3
        ]
        people = tuple(Person(actor.body, tuple(actor.segments)) for actor in self.actors)
        return Scene(
            self.seed, self.seconds, self.place, self.camera, self.light, people, tuple(self.things), tuple(events)
        )
