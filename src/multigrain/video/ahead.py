"""An iterator that is worked on in a thread of its own, a few items ahead of who uses it."""

from collections.abc import Generator, Iterator
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import TypeVar

Item = TypeVar("Item")

_WAIT_SECONDS = 0.1


def ahead(items: Iterator[Item], num_items: int = 4) -> Generator[Item, None, None]:
    """The same items, computed while the user is busy with those before; an error is raised where its item would have come.

    Args:
        items: what to iterate over; only the thread touches it.
        num_items: how many are computed ahead at most.
    """
    queue: Queue[tuple[bool, Item | BaseException | None]] = Queue(num_items)
    is_left = Event()

    def put(entry: tuple[bool, Item | BaseException | None]) -> None:
        while not is_left.is_set():
            try:
                queue.put(entry, timeout=_WAIT_SECONDS)
                return
            except Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put((True, item))
                if is_left.is_set():
                    return
            put((False, None))
        except BaseException as error:  # it belongs to who uses the items
            put((False, error))

    thread = Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            try:
                is_item, value = queue.get(timeout=_WAIT_SECONDS)
            except Empty:
                continue
            if is_item:
                yield value  # type: ignore[misc]
            elif value is None:
                return
            else:
                raise value  # type: ignore[misc]
    finally:
        is_left.set()
        thread.join()
