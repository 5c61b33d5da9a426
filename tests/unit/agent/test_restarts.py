from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from labctl.agent.restarts import BURST, EVERY_S, Restarts


def starts(lives_s: list[float]) -> list[float]:
    """When each successor of agents that live so long is started."""
    restarts, now, found = Restarts(), 100.0, []
    for life_s in lives_s:
        now += life_s
        now += restarts.wait_s(now)
        found.append(now)
    return found


def test_an_agent_that_dies_at_once_always_gets_a_successor_and_no_more_than_so_many_a_minute() -> None:
    found = starts([0.0] * 500)
    assert found[BURST - 1] == found[0], "a burst waits for nothing"
    assert all(later - earlier == EVERY_S for earlier, later in pairwise(found[BURST:]))


@given(st.lists(st.floats(EVERY_S, 1e6), max_size=200))
def test_agents_that_live_a_little_are_never_waited_for(lives_s: list[float]) -> None:
    ends, now = [], 100.0
    for life_s in lives_s:
        now += life_s
        ends.append(now)
    assert starts(lives_s) == ends


@given(st.lists(st.floats(0, 100), max_size=200))
def test_the_rate_holds_whatever_they_live(lives_s: list[float]) -> None:
    found = starts(lives_s)
    for number, at in enumerate(found[BURST + 1 :]):
        assert at - found[number] >= EVERY_S - 1e-6
