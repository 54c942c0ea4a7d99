"""Items computed ahead: the same ones, no more than asked, with their error, and given up when the user leaves."""

import threading
from itertools import count, islice

import pytest

from multigrain.video.ahead import ahead


def test_the_items_are_the_same():
    assert list(ahead(iter(range(50)), 3)) == list(range(50))
    assert list(ahead(iter([None, 0, False]))) == [None, 0, False]


def test_an_error_comes_in_its_place():
    def items():
        yield 1
        raise ValueError("the second is broken")

    found = ahead(items())
    assert next(found) == 1
    with pytest.raises(ValueError, match="the second is broken"):
        next(found)


def test_no_more_is_computed_than_asked_and_leaving_ends_the_thread():
    made = []

    def items():
        for number in count():
            made.append(number)
            yield number

    threads = threading.active_count()
    found = ahead(items(), 2)
    assert list(islice(found, 3)) == [0, 1, 2]
    found.close()
    assert threading.active_count() == threads
    assert len(made) <= 3 + 2 + 2
