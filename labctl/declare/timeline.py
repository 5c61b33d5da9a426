"""The steps of a phase: shapes to the model, and every reason why a timeline cannot be played as written."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from labctl.declare.targets import fixed_nodes, impossible
from labctl.declare.yaml import near, shown
from labctl.model.fault import Fault
from labctl.model.scenario import DEFAULT_PATIENCE_S, Condition, Maintenance, Step
from labctl.plan.following import unfollowable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from labctl.declare import shapes, yaml
    from labctl.declare.scenario import Known
    from labctl.model.topology import Topology

STEP_KEYS = (
    "at",
    "after",
    "when",
    "within",
    "delay",
    "id",
    "may-fail",
    "for",
    "from",
    "follow",
    "every",
    "times",
    "with",
)
_END = ".end"

Placed = tuple[Step, "yaml.Path"]
"""A step and where it stands in the file."""


@dataclass(frozen=True, slots=True)
class TimelineReader:
    """Reads the steps of one phase.

    Attributes:
        document: Where the problems go.
        known: What there is to be named.
        topology: What targets are held against; None if it is wrong itself.
        duration_s: Of the phase.
        groups: Client groups from which some workload of the phase connects.
    """

    document: yaml.Document
    known: Known
    topology: Topology | None
    duration_s: float
    groups: set[str]

    def read(self, shapes_: Sequence[shapes.Step], at: yaml.Path) -> tuple[Step, ...]:
        """The steps of a phase at `at`: those of a fixed time in its order, then the others as stated."""
        placed: list[Placed] = []
        for index, stated in enumerate(shapes_):
            place = (*at, "steps", index)
            placed += [(step, place) for step in self._step(stated, place)]
        placed.sort(key=lambda each: (not each[0].fixed, each[0].at_s if each[0].fixed else 0.0))
        self._check_labels(placed)
        self._refuse_overlaps([each for each in placed if each[0].fixed])
        return tuple(step for step, _ in placed)

    def _step(self, shape: shapes.Step, at: yaml.Path) -> tuple[Step, ...]:
        """The step, as often as it is repeated; none (with the problem noted) if it states no single thing to do."""
        kind = self._kind(shape, at)
        if kind is None:
            return ()
        target = (shape.model_extra or {})[kind]
        for key, named in ((kind, target), ("from", shape.from_ or "")):
            reason = self.topology and impossible(named, self.topology, self.groups)
            if reason:
                self.document.problem((*at, key), f"`{key}` has an impossible target: {reason}")
        self._check_moment(shape, at)
        self._check_conditions(shape, at)
        if kind in self.known.actions:
            return self._action(shape, kind, target, at)
        if shape.may_fail:
            self.document.problem((*at, "may-fail"), "`may-fail` is for actions; a fault has to bite", at_key=True)
        if shape.follow and target and (reason := unfollowable(target, shape.from_ or "")):
            self.document.problem((*at, "follow"), f"there is nothing to follow: {reason}")
        starts = self._starts(shape, at)
        fixed = not (shape.after or shape.when or shape.delay)
        ends = [self._lasts_s(shape, start, fixed=fixed) for start in starts]
        return tuple(
            self._placed(shape, start, Fault(kind, target, lasts_s, shape.with_, shape.from_ or "", shape.follow))
            for start, lasts_s in zip(starts, ends, strict=True)
        )

    def _action(self, shape: shapes.Step, kind: str, target: str, at: yaml.Path) -> tuple[Step, ...]:
        for key, stated in (("for", shape.for_), ("from", shape.from_), ("follow", shape.follow)):
            if stated:
                self.document.problem(
                    (*at, key), f"`{kind}` is an action, which is over once it is done; `{key}` is for faults"
                )
        does = Maintenance(kind, target, shape.with_)
        return tuple(self._placed(shape, start, does) for start in self._starts(shape, at))

    def _placed(self, shape: shapes.Step, start_s: float, does: Fault | Maintenance) -> Step:
        return Step(
            at_s=start_s,
            does=does,
            label=shape.id_ or "",
            after=shape.after or "",
            when=tuple(Condition(name, argument) for name, argument in shape.when or ()),
            within_s=shape.within / 1000 if shape.within else DEFAULT_PATIENCE_S,
            delay_s=(shape.delay or 0) / 1000,
            may_fail=shape.may_fail,
        )

    def _lasts_s(self, shape: shapes.Step, start_s: float, *, fixed: bool) -> float | None:
        """Seconds until the fault is undone; None for the end of the phase where that is not known yet."""
        if shape.for_:
            return shape.for_ / 1000
        return max(0.0, self.duration_s - start_s) if fixed else None

    def _starts(self, shape: shapes.Step, at: yaml.Path) -> list[float]:
        """When it begins, as often as it is repeated."""
        if (shape.times > 1) != (shape.every is not None):
            self.document.problem(at, "`every` and `times` go together: `every: 2s, times: 3`")
        first_s, every_s = shape.at or 0.0, (shape.every or 0) / 1000
        last_s = first_s + (shape.times - 1) * every_s
        if shape.at is not None and last_s >= self.duration_s:
            self.document.problem(
                (*at, "at"), f"`at` is not within the phase, which ends at {seconds(self.duration_s)}"
            )
        elif shape.for_ and not (shape.after or shape.when) and last_s + shape.for_ / 1000 > self.duration_s:
            ends = seconds(last_s + shape.for_ / 1000)
            self.document.problem(
                (*at, "for"), f"ends at {ends}, but the phase ends at {seconds(self.duration_s)} and undoes every fault"
            )
        return [first_s + number * every_s for number in range(shape.times)]

    def _check_moment(self, shape: shapes.Step, at: yaml.Path) -> None:
        """A step says from when on, and each key goes with what it is about."""
        if shape.at is None and shape.after is None and shape.when is None and "at" not in self.document.lost:
            self.document.problem(at, "a step needs its time: `at: 2s`, `after: ID` or `when: CONDITION`")
        if shape.at is not None and shape.after is not None:
            self.document.problem((*at, "after"), "a step begins `at` a time or `after` another, not both", at_key=True)
        if shape.within is not None and shape.when is None:
            self.document.problem((*at, "within"), "`within` is how long to wait for a `when`", at_key=True)
        if shape.id_ is not None and shape.times > 1:
            self.document.problem((*at, "id"), "a step that is repeated cannot have an `id`", at_key=True)

    def _check_conditions(self, shape: shapes.Step, at: yaml.Path) -> None:
        for name, argument in shape.when or ():
            rule = self.known.conditions.get(name)
            if rule is None:
                reason: str | None = f"there is no condition {shown(name)}; {near(name, sorted(self.known.conditions))}"
            else:
                reason = rule(argument, self.topology) if self.topology else None
            if reason:
                self.document.problem((*at, "when"), reason)

    def _kind(self, shape: shapes.Step, at: yaml.Path) -> str | None:
        stated = list(shape.model_extra or {})
        there_are = self.known.faults | self.known.actions
        kinds = [key for key in stated if key in there_are]
        for key in stated:
            if key not in kinds:
                words = [*STEP_KEYS, *sorted(there_are)]
                what = "fault or action" if self.known.actions else "fault"
                message = f"unknown key or {what} {shown(key)}; {near(key, words)}"
                self.document.problem((*at, key), message, at_key=True)
        if len(kinds) > 1:
            both = " and ".join(f"`{kind}`" for kind in kinds)
            self.document.problem(at, f"a step is one fault; {both} are {len(kinds)} steps")
        if not stated:
            self.document.problem(at, "a step needs a fault and its target, such as `kill: primary`")
        return kinds[0] if len(kinds) == 1 and kinds == stated else None

    def _check_labels(self, steps: list[Placed]) -> None:
        """Refuse labels that are stated twice, and `after` that names none, itself, or what is never over."""
        labels: dict[str, Step] = {}
        for step, at in steps:
            if step.label in labels:
                self.document.problem((*at, "id"), f"`id` {shown(step.label)} is stated twice in this phase")
            elif step.label:
                labels[step.label] = step
        for step, at in steps:
            label = step.after.removesuffix(_END)
            other = labels.get(label)
            if not label:
                continue
            if other is None:
                if "steps" not in self.document.lost:
                    words = near(label, sorted(labels))
                    self.document.problem((*at, "after"), f"no step of this phase has the `id` {shown(label)}; {words}")
            elif self._waits_for_itself(step, labels):
                self.document.problem((*at, "after"), f"`after` {shown(step.after)} waits for itself")
            elif step.after.endswith(_END) and not self._ends(other):
                reason = f"{shown(label)} states no `for`, so it lasts until the phase ends"
                self.document.problem((*at, "after"), reason)

    def _ends(self, step: Step) -> bool:
        """Whether a step is over before its phase is."""
        if not isinstance(step.does, Fault) or step.does.kind in self.known.momentary:
            return True
        return step.does.duration_s is not None and step.at_s + step.does.duration_s < self.duration_s

    @staticmethod
    def _waits_for_itself(step: Step, labels: dict[str, Step]) -> bool:
        seen: set[str] = set()
        at: Step | None = step
        while at is not None and (label := at.after.removesuffix(_END)):
            if label in seen or label == step.label:
                return True
            seen.add(label)
            at = labels.get(label)
        return False

    def _refuse_overlaps(self, steps: list[Placed]) -> None:
        """Refuse faults that need a process which an earlier fault, still in force, has taken away.

        Only for nodes named outright: whom a role means may have changed in between, and killing one primary after
        another is a fair drill. `steps` are in the order of time.
        """
        for (earlier, _), (later, at) in combinations(steps, 2):
            first, second = earlier.fault, later.fault
            if first is None or second is None or not self.topology:
                continue
            until_s = earlier.at_s + (first.duration_s or 0)
            taken = first.kind in self.known.stops and second.kind in self.known.needs_process
            if not taken or later.at_s >= until_s:
                continue
            both = fixed_nodes(first.target, self.topology) & fixed_nodes(second.target, self.topology)
            if both:
                self.document.problem(
                    at,
                    f"`{second.kind}` at {seconds(later.at_s)} finds no process of {', '.join(sorted(both))}: "
                    f"`{first.kind}` at {seconds(earlier.at_s)} lasts until {seconds(until_s)}",
                )


def seconds(value: float) -> str:
    """Seconds as YAML would state them.

    >>> seconds(2.0), seconds(0.5)
    ('2s', '500ms')
    """
    return f"{value:g}s" if value >= 1 or not value else f"{value * 1000:g}ms"
