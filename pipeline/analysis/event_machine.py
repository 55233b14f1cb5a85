r"""From scores to events: one state machine per camera and label (ARCHITECTURE 4).

    score  1 |         __.--.__
       enter |- - - - /- - - - \- - - - - - - - - -      two thresholds, so that noise does not cut an event
        exit |- - - -/- - - - - \- - .-. - - - - -
           0 |______/            \__/   \___________
             |      r1 2 s   u         l        e
                   ^ start            ^ end

1 is the first window of a streak at or above `enter`. s completes the streak (here `confirm` = 3) and sends `started`.
u sends `updated`, because the peak rose. l is the last window at or above `exit`. At e the score has been below `exit`
for the merge time, which sends `ended`. r is the first window at or above `exit` without a gap up to 1, at most
`backtrack_seconds` before it (0: r is 1). `start` is r minus the onset lag, `end` is l minus the offset lag;
calibration measured both lags. If an event is cut off at a window that still held it (the camera was lost, the label
removed), nobody saw it end, and it lasts until l itself.

Everything here is a function of its arguments. A state that was stored and read back continues with the same bytes.
A tick at which a window was due and none came counts as below `exit` and breaks a streak. How late such a tick is
noticed changes neither the decision nor the times in the message.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pipeline.analysis.thresholds import EventRules
from pipeline.analysis.ticks import tick_ns
from pipeline.records.events import ActionEvent, EndReason, Evidence, ModelReference, Phase
from pipeline.records.state import CoolDown, LabelState, LabelStates, OpenEvent, Peak, Streak

NAMESPACE = uuid.UUID("0d3f5f6e-8a55-5c0e-9d35-6f0c2a1b7e44")
"""Namespace of event ids."""
FORGET_SECONDS = 30
"""How long the end of an event is remembered at least. Longer than the onset lag of any bundle."""
UPDATE_SECONDS = 1
"""An open event is updated at most once in this time."""
REST_AFTER: frozenset[EndReason] = frozenset({"score", "max_length", "shed"})
"""Ends after which the cool-down applies. After the others the next event may follow at once."""

Result: TypeAlias = tuple[dict[str, LabelState], list[ActionEvent]]
"""The labels that are not at rest, and the messages to send, ordered by label id."""


@dataclass(frozen=True, slots=True)
class WindowScores:
    """One scored window of one camera."""

    tick: int
    """Tick of the window's last item."""
    scores: npt.NDArray[np.float32]
    """[L], in the order of the rules' labels."""
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class EventContext:
    """What all messages of a camera have in common."""

    camera: str
    session: int
    rate: int
    """Ticks per second of the session."""
    model: ModelReference
    labels_version: int
    window_frames: int
    window_rate: float
    """Frames per second inside the window."""


def advance(states: LabelStates, window: WindowScores, rules: EventRules, context: EventContext) -> Result:
    """Process one window. Windows of a session come in tick order.

    rules: of this camera (`thresholds.CameraRules`). Python runs only for labels that are not at rest or reach `wake`.
    """
    after, messages = pass_ticks(states, window.tick - 1, rules, context)
    hot = {rules.labels[column].id for column in np.flatnonzero(window.scores >= rules.wake)}
    for label_id in sorted(hot | after.keys()):
        column = rules.columns.get(label_id)
        if column is None:
            state, sent = _unwatched(after[label_id], window.tick, rules, context)
        else:
            step = _Step(column, window, float(window.scores[column]), rules, context)
            state, sent = _next(after.get(label_id), step)
        _keep(after, label_id, state)
        messages += sent
    return after, messages


def pass_ticks(states: LabelStates, tick: int, rules: EventRules, context: EventContext) -> Result:
    """Process all due ticks up to and including `tick` that had no window."""
    after = dict(states)
    messages: list[ActionEvent] = []
    for label_id in sorted(states):
        state = states[label_id]
        column = rules.columns.get(label_id)
        missed = _due_after(state.tick, rules.step) if not isinstance(state, CoolDown) else tick + 1
        if missed > tick or column is None:
            continue
        if isinstance(state, Streak):
            _keep(after, label_id, _broken(state, missed))
        elif isinstance(state, OpenEvent):
            due, reason = _end_due(state, missed, column, rules)
            if due <= tick:
                after[label_id], message = _end(state, due, reason, column, rules, context)
                messages.append(message)
            else:
                after[label_id] = replace(state, tick=tick // rules.step * rules.step)
    return after, messages


def relabel(states: LabelStates, tick: int, rules: EventRules, context: EventContext) -> Result:
    """Apply a changed label set after `tick`, the camera's last.

    rules: the new ones. If a label is not watched any more, or its text changed, its open event ends and its streak
    breaks.
    """
    after = dict(states)
    messages: list[ActionEvent] = []
    for label_id in sorted(states):
        state = states[label_id]
        column = rules.columns.get(label_id)
        if isinstance(state, CoolDown) or (column is not None and rules.labels[column].text == state.label):
            continue
        if isinstance(state, Streak):
            _keep(after, label_id, _broken(state, tick))
        else:
            after[label_id], message = _end(state, max(tick, state.tick), "label", column, rules, context)
            messages.append(message)
    return after, messages


def finish(states: LabelStates, reason: EndReason, tick: int, rules: EventRules, context: EventContext) -> Result:
    """End every open event after `tick`, the camera's last.

    When the session is over (reasons `session` and `lost`) nothing of it is remembered: the next has ticks of its own.
    """
    after, messages = pass_ticks(states, tick, rules, context)
    for label_id, state in sorted(after.items()):
        if isinstance(state, OpenEvent):
            column = rules.columns.get(label_id)
            after[label_id], message = _end(state, max(tick, state.tick), reason, column, rules, context)
            messages.append(message)
        elif isinstance(state, Streak):
            _keep(after, label_id, _broken(state, tick))
    messages.sort(key=lambda message: (message.label_id, message.sequence))
    return ({} if reason in ("session", "lost") else after), messages


def ordered(states: LabelStates) -> tuple[LabelState, ...]:
    """States in the order in which `CameraState` stores them."""
    return tuple(states[label_id] for label_id in sorted(states))


def by_label(states: Iterable[LabelState]) -> dict[str, LabelState]:
    """States by label id, as this module takes them."""
    return {state.label_id: state for state in states}


@dataclass(frozen=True, slots=True)
class _Step:
    """One label at one window."""

    column: int
    window: WindowScores
    score: float
    rules: EventRules
    context: EventContext

    @property
    def tick(self) -> int:
        return self.window.tick

    @property
    def peak(self) -> Peak:
        return Peak(self.score, self.tick, self.window.evidence)

    @property
    def wakes(self) -> bool:
        return bool(self.score >= self.rules.wake[self.column])

    @property
    def enters(self) -> bool:
        return bool(self.score >= self.rules.enter[self.column])

    @property
    def stays(self) -> bool:
        return bool(self.score >= self.rules.exit[self.column])


def _next(state: LabelState | None, step: _Step) -> tuple[LabelState | None, list[ActionEvent]]:
    match state:
        case OpenEvent():
            return _next_open(state, step)
        case Streak():
            return _next_streak(state, step)
        case CoolDown() if step.tick < state.until_tick or not step.wakes:
            return _rested(state, step.tick, step.rules), []
    if not step.wakes:
        return None, []
    label = step.rules.labels[step.column]
    floor = state.floor_tick if state else None
    return _next_streak(Streak(label.id, label.text, 0, step.tick, step.tick, step.tick, step.peak, floor), step)


def _unwatched(
    state: LabelState, tick: int, rules: EventRules, context: EventContext
) -> tuple[LabelState | None, list[ActionEvent]]:
    """Process a window of a bundle that cannot watch for the label. It was last seen at a window of another bundle."""
    match state:
        case OpenEvent():
            rested, message = _end(state, state.tick, "label", None, rules, context)
            return rested, [message]
        case Streak():
            return _broken(state, state.tick), []
    return _rested(state, tick, rules), []


def _next_streak(state: Streak, step: _Step) -> tuple[LabelState | None, list[ActionEvent]]:
    confirmed = state.count >= step.rules.confirm[step.column]
    seen = replace(state, tick=step.tick, peak=_higher(state.peak, step))
    if step.stays if confirmed else step.enters:
        first = state.first_tick if state.count else step.tick
        return _fire_when_due(replace(seen, count=state.count + 1, first_tick=first), step)
    if step.wakes and not confirmed:
        return replace(seen, count=0), []
    return _broken(state, step.tick), []


def _fire_when_due(streak: Streak, step: _Step) -> tuple[LabelState, list[ActionEvent]]:
    rules, column = step.rules, step.column
    if streak.count < rules.confirm[column] or step.tick - streak.first_tick < rules.min_ticks[column]:
        return streak, []
    begun = max(streak.rise_tick, streak.first_tick - int(rules.backtrack_ticks[column]))
    start = begun - rules.onset_lag
    if streak.floor_tick is not None:
        start = max(start, streak.floor_tick)
    opened = OpenEvent(
        label_id=streak.label_id,
        label=streak.label,
        id=_event_id(step.context, streak.label_id, start),
        sequence=0,
        start_tick=start,
        tick=step.tick,
        above_tick=step.tick,
        score=step.score,
        peak=streak.peak,
        told_peak=streak.peak.score,
        told_tick=step.tick,
        started_by=step.context.model,
    )
    return opened, [_message(opened, "started", step.tick, step.context)]


def _next_open(state: OpenEvent, step: _Step) -> tuple[LabelState, list[ActionEvent]]:
    rules, context = step.rules, step.context
    above = step.tick if step.stays else state.above_tick
    seen = replace(state, tick=step.tick, above_tick=above, score=step.score, peak=_higher(state.peak, step))
    due, reason = _end_due(seen, step.tick, step.column, rules)
    if due <= step.tick:
        rested, message = _end(seen, step.tick, reason, step.column, rules, context)
        return rested, [message]
    risen = round(seen.peak.score, 6) > round(seen.told_peak, 6)
    if not risen or step.tick - seen.told_tick < UPDATE_SECONDS * rules.rate:
        return seen, []
    told = replace(seen, sequence=seen.sequence + 1, told_peak=seen.peak.score, told_tick=step.tick)
    return told, [_message(told, "updated", step.tick, context)]


def _end_due(state: OpenEvent, earliest: int, column: int, rules: EventRules) -> tuple[int, EndReason]:
    """First window tick from `earliest` on at which the event ends unless a window holds it, and the reason."""
    merged = max(state.above_tick + int(rules.merge_ticks[column]), state.above_tick + 1)
    longest = state.start_tick + int(rules.max_ticks[column])
    due = _ceil(max(earliest, min(merged, longest)), rules.step)
    return due, "score" if merged <= due else "max_length"


def _end(
    state: OpenEvent, tick: int, reason: EndReason, column: int | None, rules: EventRules, context: EventContext
) -> tuple[CoolDown, ActionEvent]:
    """End an event at `tick`. column: None if the label is no longer watched."""
    cut_off = state.above_tick >= tick // rules.step * rules.step
    end = max(state.above_tick - (0 if cut_off else rules.offset_lag), state.start_tick + 1)
    message = _message(replace(state, sequence=state.sequence + 1), "ended", tick, context, end, reason)
    rest = int(rules.cooldown_ticks[column]) if column is not None and reason in REST_AFTER else 0
    return CoolDown(state.label_id, max(tick + rest, tick + 1), end), message


def _message(
    state: OpenEvent,
    phase: Phase,
    tick: int,
    context: EventContext,
    end: int | None = None,
    reason: EndReason | None = None,
) -> ActionEvent:
    def instant(at: int) -> int:
        return tick_ns(at, context.rate, context.camera)

    return ActionEvent(
        id=state.id,
        sequence=state.sequence,
        phase=phase,
        camera=context.camera,
        session=context.session,
        label_id=state.label_id,
        label=state.label,
        time_ns=instant(tick),
        start_ns=instant(state.start_tick),
        start_tick=state.start_tick,
        end_ns=None if end is None else instant(end),
        end_tick=end,
        score=state.score,
        peak=state.peak.score,
        peak_ns=instant(state.peak.tick),
        reason=reason,
        model=context.model,
        started_by=state.started_by,
        labels_version=context.labels_version,
        window_frames=context.window_frames,
        window_rate=context.window_rate,
        evidence=state.peak.evidence,
    )


def _event_id(context: EventContext, label_id: str, start: int) -> str:
    name = "\n".join((context.camera, str(context.session), label_id, str(start), context.model.space))
    return str(uuid.uuid5(NAMESPACE, name))


def _higher(peak: Peak, step: _Step) -> Peak:
    return step.peak if step.score > peak.score else peak


def _broken(state: Streak, tick: int) -> LabelState | None:
    return None if state.floor_tick is None else CoolDown(state.label_id, tick, state.floor_tick)


def _rested(state: LabelState | None, tick: int, rules: EventRules) -> LabelState | None:
    """Forget a cool-down once it is over and no later event could start before the end of the last one."""
    lag = max(rules.onset_lag, FORGET_SECONDS * rules.rate)  # another bundle may have another lag
    over = isinstance(state, CoolDown) and tick >= state.until_tick and tick - lag >= state.floor_tick
    return None if over else state


def _keep(states: dict[str, LabelState], label_id: str, state: LabelState | None) -> None:
    if state is None:
        states.pop(label_id, None)
    else:
        states[label_id] = state


def _due_after(tick: int, step: int) -> int:
    """The first window tick after `tick`."""
    return (tick // step + 1) * step


def _ceil(tick: int, step: int) -> int:
    """The first window tick at or after `tick`."""
    return -(-tick // step) * step
