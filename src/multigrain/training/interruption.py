"""Ctrl-C at a bad moment: held back while something is written that must be whole."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interrupt_held_back() -> Iterator[None]:
    """Lets what is inside finish before a Ctrl-C that came meanwhile takes effect.

    TensorBoard's writer hands its events to a thread. An interrupt in the middle of that leaves the thread waiting for ever, and the
    process with it, since it waits for the thread in the end. In other threads than the main one, which get no Ctrl-C, nothing is done.
    """
    former = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or former is None:
        yield
        return
    received: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: received.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)
        if received:
            signal.raise_signal(signal.SIGINT)
