"""What a client did that cannot be answered: a status and a sentence."""

from collections.abc import Mapping


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


def too_many(sentence: str, retry_seconds: int) -> Refusal:
    """A 429 that says when to come again."""
    return Refusal(429, f"{sentence} Try again in {retry_seconds} s.", {"Retry-After": str(retry_seconds)})
