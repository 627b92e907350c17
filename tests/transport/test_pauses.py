"""Retry-After and the pauses that transfers share."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbdock.transport.pauses import HostPauses, retry_after_s


@given(st.integers(0, 10**8))
def test_seconds(count: int) -> None:
    assert retry_after_s(f" {count} ", now_s=0) == count


@given(st.integers(0, 4 * 10**9), st.integers(0, 10**6))
@settings(deadline=None)
def test_dates_count_from_now_and_never_backwards(now: int, later: int) -> None:
    text = formatdate(now + later, usegmt=True)
    assert retry_after_s(text, now_s=now) == later
    assert retry_after_s(text, now_s=now + later + 5) == 0


@given(st.text())
def test_nonsense_never_raises(text: str) -> None:
    value = retry_after_s(text, now_s=0)
    assert value is None or value >= 0


@pytest.mark.parametrize("text", [None, "", "soon", "-5", "1.5", "٣"])
def test_nonsense_says_nothing(text: str | None) -> None:
    assert retry_after_s(text, now_s=0) is None


async def test_a_pause_is_for_one_host_and_for_all_its_transfers() -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    pauses = HostPauses(sleep)
    pauses.extend("a", attempt=0, asked_s=50)
    pauses.extend("a", attempt=0)  # shorter: does not cut the longer one
    await pauses.wait("b")
    assert slept == []
    await pauses.wait("a")
    assert len(slept) == 1
    assert 49 < slept[0] <= 50


def test_backoff_grows_and_is_bounded() -> None:
    pauses = HostPauses()
    waits = [pauses.extend("a", attempt=n) for n in range(40)]
    assert waits[0] <= 0.25
    assert max(waits) <= 30
    assert waits[-1] >= 15
