"""Prometheus during a drill: started where a scenario needs it, and asked which alerts fire."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from labctl.check import alerts
from labctl.errors import LabError
from labctl.model.history import ALERT, Event
from labctl.model.scenario import Phase, Scenario
from labctl.monitoring import stack
from labctl.monitoring.folder import PROMETHEUS, monitoring_folder
from labctl.monitoring.prometheus import Api
from labctl.monitoring.rules import RuleSettings
from labctl.store.folders import lab_names
from labctl.store.history import HistoryWriter

OWN = stack.Settings(interval_s=0.5, rules=RuleSettings(hold_s=1.0, window_s=10.0))
"""The settings of a Prometheus that is started for one drill: alerts clear soon enough to be waited for."""
CLEAR_S = 90.0
"""How long alerts may take to clear. Those on counters stay for `window_s` after the last event, 30 s where `observe` runs."""
_LOOK_S = 0.25

Say = Callable[[str], None]
Series = frozenset[tuple[str, str]]
"""The labels of one alert."""


@asynccontextmanager
async def prometheus_where_needed(scenario: Scenario, say: Say) -> AsyncIterator[None]:
    """Start the monitoring for a scenario that asks for alerts, unless it is up; what was started is ended.

    It stays where other labs came under its eyes meanwhile: somebody may be looking.

    Raises:
        CapabilityError: There is no Prometheus.
    """
    if not alerts.asked_by(scenario) or monitoring_folder().follows:
        yield
        return
    say("starting a Prometheus for this drill")
    await asyncio.to_thread(stack.up, OWN)
    try:
        yield
    finally:
        await asyncio.shield(asyncio.to_thread(_end, say))


def _end(say: Say) -> None:
    if others := lab_names():
        say(f"Prometheus stays, for it follows {', '.join(others)}; labctl observe down ends it")
    else:
        stack.down()


@dataclass(slots=True)
class AlertWatch:
    """Notes which alerts of a lab begin and cease to fire.

    Attributes:
        lab: Its name.
        url: Prometheus'; empty where none runs, and then nothing is noted.
        history: Where it is noted.
        say: Told the same in words.
    """

    lab: str
    url: str
    history: HistoryWriter
    say: Say
    _firing: dict[Series, Mapping[str, str]] = field(default_factory=dict)
    _looked: bool = False
    _answers: bool = True
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def watch(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_S)

    async def look(self) -> None:
        """Ask once, one after the other. That a Prometheus does not answer is noted, and it is asked again later."""
        async with self._turn:
            await self._look()

    async def _look(self) -> None:
        try:
            found = await asyncio.to_thread(Api(self.url).query, f'ALERTS{{lab="{self.lab}",alertstate="firing"}}')
        except LabError as error:
            if self._answers:
                self._note(alerts.BLIND, {}, error.message)
            self._answers = False
            return
        self._answers = True
        now: dict[Series, Mapping[str, str]] = {
            frozenset(labels.items()): labels for labels in (_labels(row["metric"]) for row in found)
        }
        before, self._firing = self._firing, now
        if not self._looked:
            self._looked = True
            self._note(alerts.WATCHED, {})
            for labels in now.values():
                self._note(alerts.STANDING, labels)
            return
        for series in now.keys() - before.keys():
            self._note(alerts.FIRING, now[series])
        for series in before.keys() - now.keys():
            self._note(alerts.CLEARED, before[series])

    async def until_cleared(self, names: Iterable[str]) -> None:
        """Wait until none of these fires, `CLEAR_S` at the most; the check says what is left."""
        wanted = frozenset(names)
        if not self.url or not wanted:
            return
        until = time.monotonic() + CLEAR_S
        await self.look()
        if any(labels["alertname"] in wanted for labels in self._firing.values()):
            self.say("waiting until the alerts have cleared")
        while any(labels["alertname"] in wanted for labels in self._firing.values()) and time.monotonic() < until:
            await asyncio.sleep(_LOOK_S)
            await self.look()

    def _note(self, state: str, labels: Mapping[str, str], text: str = "") -> None:
        name, node = labels.get("alertname", ""), labels.get("node")
        detail: dict[str, object] = {"state": state, "text": text} if text else {"state": state}
        if name:
            words = {alerts.STANDING: "fires already", alerts.FIRING: "fires", alerts.CLEARED: "has cleared"}[state]
            text = f"alert {name} {words}{f' for {node}' if node else ''}"
            detail |= {"alert": name, "labels": dict(sorted(labels.items())), "text": text}
            self.say(text)
        self.history.event(Event(ALERT, time.monotonic_ns(), node, detail))


@asynccontextmanager
async def alerting(lab: str, history: HistoryWriter, say: Say) -> AsyncIterator[AlertWatch]:
    """Note alerts while the context lasts, where a Prometheus follows the labs."""
    watch = AlertWatch(lab, monitoring_folder().addresses().get(PROMETHEUS, ""), history, say)
    if not watch.url:
        yield watch
        return
    await watch.look()
    task = asyncio.create_task(watch.watch())
    try:
        yield watch
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def expected(phase: Phase) -> tuple[str, ...]:
    """The alerts that a phase's checks want to see fire and clear."""
    stated = (check.options.get("fire", "") for check in phase.checks if check.name == alerts.NAME)
    return tuple(name for text in stated for name in alerts.names(str(text)))


def _labels(metric: Mapping[str, str]) -> dict[str, str]:
    """What tells one alert from another."""
    return {name: value for name, value in metric.items() if name not in ("__name__", "alertstate")}
