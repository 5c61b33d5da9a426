"""The error table by itself: what does not need a server to be looked at."""

from __future__ import annotations

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from labctl.model.history import OpOutcome
from labctl.workload import errors

FAIL, UNKNOWN = OpOutcome.FAIL, OpOutcome.UNKNOWN


def test_names_are_unique_and_every_row_gives_a_reason_and_a_source() -> None:
    rows = [
        *errors.REPLIES,
        *errors.CLIENT,
        errors.IN_SCRIPT,
        errors.IN_MIGRATE,
        errors.MAX_CLIENTS,
        errors.OTHER_REPLY,
    ]
    assert len({row.name for row in rows}) == len(rows)
    assert all(row.reason and row.source and row.outcome is not OpOutcome.OK for row in rows)


@pytest.mark.parametrize("row", errors.REPLIES, ids=lambda row: row.name)
def test_a_lost_reply_leaves_every_refusal_open(row) -> None:
    error = redis.ResponseError(f"{row.name} something")
    assert errors.classify(error, unanswered=False) == (row.outcome, row.name)
    outcome, name = errors.classify(error, unanswered=True)
    assert outcome is UNKNOWN
    assert name.startswith(row.name)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (redis.exceptions.MovedError("1 127.0.0.1:1"), "MOVED"),
        (redis.exceptions.AskError("1 127.0.0.1:1"), "ASK"),
        (redis.exceptions.TryAgainError("x"), "TRYAGAIN"),
        (redis.exceptions.ClusterCrossSlotError("x"), "CROSSSLOT"),
        (redis.exceptions.ClusterDownError("x"), "CLUSTERDOWN"),
        (redis.exceptions.MasterDownError("x"), "MASTERDOWN"),
        (redis.BusyLoadingError("x"), "LOADING"),
        (redis.ReadOnlyError("x"), "READONLY"),
        (redis.OutOfMemoryError("x"), "OOM"),
        (redis.exceptions.NoPermissionError("x"), "NOPERM"),
        (redis.exceptions.NoScriptError("x"), "NOSCRIPT"),
        (redis.exceptions.ExecAbortError("x"), "EXECABORT"),
        (redis.AuthenticationError("Authentication required."), "NOAUTH"),
        (redis.AuthenticationError("invalid username-password pair"), "WRONGPASS"),
        (redis.ResponseError("value is not an integer or out of range"), "ERR"),
    ],
)
def test_redis_pys_classes_without_a_status_code_are_known_as_well(error, code) -> None:
    """Before version 8 redis-py does not keep the reply's first word."""
    assert errors.code_of(error) == code
    assert errors.is_reply(error)
    assert errors.classify(error, unanswered=False) == (FAIL, code)


@given(st.text(max_size=80), st.booleans(), st.booleans())
def test_whatever_a_server_says_unanswered_is_never_a_failure(text, scripted, known) -> None:
    error = redis.ResponseError(text) if known else redis.RedisError(text)
    outcome, name = errors.classify(error, unanswered=True, scripted=scripted)
    assert outcome is UNKNOWN
    assert name


@given(st.sampled_from([row.name for row in errors.REPLIES]))
def test_a_scripts_author_may_return_any_error_that_redis_itself_cannot_have_meant(code) -> None:
    before_the_script = {
        "NOSCRIPT", "MOVED", "ASK", "TRYAGAIN", "CROSSSLOT", "CLUSTERDOWN", "LOADING", "BUSY", "NOAUTH", "WRONGPASS",
    }  # fmt: skip
    outcome, _ = errors.classify(redis.ResponseError(f"{code} x"), unanswered=False, scripted=True)
    assert (outcome is FAIL) == (code in before_the_script)
