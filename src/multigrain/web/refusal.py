"""What a client did that cannot be answered: a status and a sentence."""

from collections.abc import Mapping

CROWDED_SECONDS = 5


class Refusal(Exception):
    """An answer of 4xx or 5xx.

    Attributes:
        status: of HTTP.
        sentence: what is wrong and what to do, shown to people.
        headers: sent with it.
    """

    def __init__(self, status: int, sentence: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.headers = dict(headers or {})


def crowded() -> Refusal:
    """A 503 of a server with too many connections, which this one is none of any more."""
    sentence = f"This server has more connections than it can serve. Try again in {CROWDED_SECONDS} s."
    return Refusal(503, sentence, {"Retry-After": str(CROWDED_SECONDS), "Connection": "close"})


def too_many(sentence: str, retry_seconds: int) -> Refusal:
    """A 429 that says when to come again."""
    return Refusal(429, f"{sentence} Try again in {retry_seconds} s.", {"Retry-After": str(retry_seconds)})
