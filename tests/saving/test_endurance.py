"""Short forms of what holds in the long run; the long forms: python -m tests.saving.endurance."""

from __future__ import annotations

import signal

import pytest

from tests.saving import endurance


@pytest.mark.parametrize(("kind", "count"), [("threads", 20), ("interrupts", 4), ("processes", 10)])
def test_nothing_differs(kind: str, count: int) -> None:
    if kind == "interrupts" and signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        pytest.fail("Another test has left its handler.")
    assert endurance.KINDS[kind][0](count) == 0
