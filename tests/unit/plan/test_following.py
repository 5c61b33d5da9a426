import pytest

from labctl.plan.following import unfollowable


@pytest.mark.parametrize(
    "targets", [("primary",), ("primary,clients-a",), ("redis-1", "replica-of:redis-1"), ("key:a",)]
)
def test_roles_can_be_followed(targets: tuple[str, ...]) -> None:
    assert unfollowable(*targets) is None


@pytest.mark.parametrize(
    ("targets", "reason"),
    [
        (("redis-1",), "the same servers"),
        (("clients-a", ""), "the same servers"),
        (("sentinels",), "the same servers"),
        (("primary,any",), "`any` is drawn at random"),
        (("primary", "50%"), "`50%` is drawn at random"),
        (("halves",), "`halves` is drawn at random"),
        (("primary,random:2",), "`random:2` is drawn at random"),
    ],
)
def test_what_stays_or_is_drawn_cannot(targets: tuple[str, ...], reason: str) -> None:
    assert reason in (unfollowable(*targets) or "")
