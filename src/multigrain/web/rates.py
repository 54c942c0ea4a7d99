"""How often a client may ask: a bucket of tokens for each address, which refills with time."""

import math
import time
from collections import OrderedDict

MOST_ADDRESSES = 10_000


class RateLimit:
    """A token bucket per address.

    Args:
        burst: how many requests are allowed at once.
        per_second: how many more become allowed each second.
    """

    def __init__(self, burst: int, per_second: float) -> None:
        self._burst, self._per_second = burst, per_second
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_seconds(self, address: str) -> int:
        """Takes a token: 0 when there was one, otherwise in how many seconds there will be."""
        now = time.monotonic()
        tokens, since = self._buckets.pop(address, (float(self._burst), now))
        tokens = min(self._burst, tokens + (now - since) * self._per_second)
        is_allowed = tokens >= 1
        self._buckets[address] = (tokens - 1 if is_allowed else tokens, now)
        while len(self._buckets) > MOST_ADDRESSES:
            self._buckets.popitem(last=False)
        return 0 if is_allowed else max(1, math.ceil((1 - tokens) / self._per_second))
