"""Ctrl-C and SIGTERM: both end a training in order, at any moment; held back while something is written that must be whole."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_HELD_BACK = (signal.SIGINT, signal.SIGTERM)


class Terminated(KeyboardInterrupt):
    """SIGTERM, as what schedulers and `kill` send; it ends a training as Ctrl-C does."""


@contextmanager
def interrupt_held_back() -> Iterator[None]:
    """Lets what is inside finish before a Ctrl-C or SIGTERM that came meanwhile takes effect.

    TensorBoard's writer hands its events to a thread. An interrupt in the middle of that leaves the thread waiting for ever, and the
    process with it, since it waits for the thread in the end. In other threads than the main one, which get no signals, nothing is done.
    """
    former = {number: signal.getsignal(number) for number in _HELD_BACK}
    if threading.current_thread() is not threading.main_thread() or None in former.values():
        yield
        return
    received: list[int] = []
    for number in _HELD_BACK:
        signal.signal(number, lambda number, frame: received.append(number))
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        if received:
            signal.raise_signal(received[0])


@contextmanager
def terminated_by_sigterm() -> Iterator[None]:
    """Makes of a SIGTERM what Ctrl-C is, once: a second one must not disturb what the first began.

    Raises:
        Terminated: within, when the signal comes. In other threads than the main one nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(number: int, frame: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Terminated

    former = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)
