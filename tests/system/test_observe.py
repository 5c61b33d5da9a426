"""The observer on real servers: hung ones, restarted ones, and connections that somebody kills."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from labctl.declare import library
from labctl.model.conditions import healthy
from labctl.model.topology import Role
from labctl.observe.poll import Observer
from labctl.observe.wait import ConditionError, wait_for
from tests.support.lab import engines, healthy_lab

pytestmark = pytest.mark.system


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


@pytest.fixture
def engine() -> Any:
    if not engines():
        pytest.skip("no Redis or Valkey on this machine: `labctl doctor` says how to add one")
    return next(iter(engines().values()))


def test_a_hung_node_is_down_after_one_deadline_and_then_costs_none(engine: Any, tmp_path: Path) -> None:
    async def test() -> None:
        async with healthy_lab(tmp_path, library.topology("replica"), engine) as lab:
            hung = lab.plan.node("redis-2")
            await lab.runtime.pause(hung)
            patient = Observer(lab.plan, lab.access.session, deadline_s=2)
            try:
                view = await patient.poll()
                assert [node.up for node in view.nodes] == [True, False, True]
                assert view.node("redis-2").error == "no answer within 2 s"
                patient._deadline_s = 3600  # were it waited for once more, the test would not end
                view = await patient.poll()
                assert [node.up for node in view.nodes] == [True, False, True]
                await lab.runtime.resume(hung)
                await wait_for(patient, lambda view: healthy(lab.plan, view), 60)
            finally:
                await patient.close()

    run(test())


def test_a_stall_of_labctl_itself_takes_no_node_down(engine: Any, tmp_path: Path) -> None:
    """Answers came in time and lie there unread when the deadline is over."""

    async def test() -> None:
        async with healthy_lab(tmp_path, library.topology("standalone"), engine) as lab:
            observer = Observer(lab.plan, lab.access.session, deadline_s=2)
            try:
                for _ in range(2):  # first it has to connect
                    await lab.until(lambda view: healthy(lab.plan, view))
                    look = asyncio.create_task(observer.poll())
                    for _ in range(4):
                        await asyncio.sleep(0)
                    time.sleep(2.5)  # noqa: ASYNC251 - on purpose
                    assert (await look).node("redis-1").up
            finally:
                await observer.close()

    run(test())


def test_an_answer_from_before_the_round_does_not_count(engine: Any, tmp_path: Path) -> None:
    """What a node that hung says when it goes on was asked long ago; a later round asks it anew."""

    async def test() -> None:
        async with healthy_lab(tmp_path, library.topology("standalone"), engine) as lab:
            hung = lab.plan.node("redis-1")
            observer = Observer(lab.plan, lab.access.session, deadline_s=0.2)
            try:
                await observer.poll()
                await lab.runtime.pause(hung)
                assert not (await observer.poll()).node("redis-1").up
                await lab.runtime.resume(hung)
                (late,) = observer._rounds._outstanding.values()
                await late
                await lab.ask("redis-1", "SET", "since", "then")
                observer._deadline_s = 60
                assert (await observer.poll()).node("redis-1").keys == 1
            finally:
                await observer.close()

    run(test())


def test_killed_connections_are_opened_again_within_the_round(engine: Any, tmp_path: Path) -> None:
    """Sentinel kills the clients of a node that it promotes; that is no reason to call the node down."""

    async def test() -> None:
        async with healthy_lab(tmp_path, library.topology("replica"), engine) as lab:
            await lab.observer.poll()
            for node in lab.plan.nodes:
                await lab.ask(node.name, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            view = await lab.observer.poll()
            assert all(node.up for node in view.nodes), [node.error for node in view.nodes]

    run(test())


def test_a_killed_node_is_down_and_up_again_as_another_process(engine: Any, tmp_path: Path) -> None:
    async def test() -> None:
        async with healthy_lab(tmp_path, library.topology("replica"), engine) as lab:
            before = (await lab.observer.poll()).node("redis-3")
            await lab.runtime.kill(lab.plan.node("redis-3"))
            down = (await lab.observer.poll()).node("redis-3")
            assert (down.up, down.role) == (False, None)
            assert down.error
            await lab.runtime.start(lab.plan.node("redis-3"))
            after = (await lab.until(lambda view: healthy(lab.plan, view))).node("redis-3")
            assert after.role is Role.REPLICA
            assert after.run_id != before.run_id

    run(test())


def test_a_condition_that_is_not_met_says_what_is_missing(engine: Any, tmp_path: Path) -> None:
    async def test() -> None:
        async with healthy_lab(tmp_path, library.topology("replica"), engine) as lab:
            await lab.runtime.kill(lab.plan.node("redis-1"))
            heard: list[list[str]] = []
            with pytest.raises(ConditionError, match="redis-1 does not answer") as caught:
                await wait_for(
                    lab.observer,
                    lambda view: healthy(lab.plan, view),
                    0.5,
                    what="a healthy lab",
                    on_change=heard.append,
                )
            assert str(caught.value).startswith("a healthy lab not observed within 0.5 s:")
            assert not caught.value.view.node("redis-1").up
            assert heard[-1] == caught.value.reasons

    run(test())


def test_concurrent_rounds_take_turns_and_all_see_the_lab(engine: Any, tmp_path: Path) -> None:
    async def test() -> None:
        async with healthy_lab(tmp_path, library.topology("standalone"), engine) as lab:
            views = await asyncio.gather(*(lab.observer.poll() for _ in range(20)))
            assert all(view.node("redis-1").role is Role.PRIMARY for view in views)
            times = [view.at_ns for view in views]
            assert times == sorted(times)

    run(test())


def test_lag_and_offsets_follow_writes(engine: Any, tmp_path: Path) -> None:
    async def test() -> None:
        async with healthy_lab(tmp_path, library.topology("replica"), engine) as lab:
            client = lab.access.client(lab.plan.node("redis-1"))
            before = (await lab.observer.poll()).node("redis-1").offset
            await lab.runtime.pause(lab.plan.node("redis-3"))
            for number in range(100):
                await client.set(f"key:{number}", "x" * 100)
            view = await lab.observer.poll()
            assert view.node("redis-1").offset - before > 10_000
            assert view.node("redis-1").keys == 100
            await lab.runtime.resume(lab.plan.node("redis-3"))
            await lab.until(lambda view: [f"{n.name}: {n.lag_bytes}" for n in view.nodes[1:] if n.lag_bytes != 0])
            await client.aclose()

    run(test())
