"""Times as subtitles and recognisers write them, and the lines that hold them."""

import re

_CLOCK = r"(?P<{0}sign>-?)(?:(?P<{0}hours>\d{{1,4}}):)?(?P<{0}minutes>\d{{1,4}}):(?P<{0}seconds>\d{{1,2}})(?:[.,:](?P<{0}fraction>\d{{1,9}}))?"
_TIMING = re.compile(rf"[ \t]*{_CLOCK.format('a')}[ \t]*(?:--+>|[–—]>|→)[ \t]*{_CLOCK.format('b')}(?=$|[ \t])")
_ONE_CLOCK = re.compile(_CLOCK.format("a"))


def seconds_of_clock(text: str) -> float | None:
    """Seconds of `1:02:03.5`, `02:03,500` or `02:03`; None for anything else.

    >>> seconds_of_clock("1:02:03,5"), seconds_of_clock("0:07"), seconds_of_clock("7")
    (3723.5, 7.0, None)
    """
    found = _ONE_CLOCK.fullmatch(text.strip())
    return None if found is None else _seconds(found, "a")


def timing(line: str) -> tuple[float, float, str] | None:
    """Start and end in seconds of a line such as `00:00:01,000 --> 00:00:02,500 align:start`, and its text where it has one, or None for others.

    Hours and fractions may be missing; a fraction is a decimal one: `,5` is half a second. A time may be negative. What follows the times and is no
    setting (`align:start`, `X1:100`) is text.
    """
    found = _TIMING.match(line)
    if found is None:
        return None
    rest = line[found.end() :].strip()
    is_text = any(":" not in part for part in rest.split())
    return _seconds(found, "a"), _seconds(found, "b"), rest if is_text else ""


def _seconds(found: "re.Match[str]", which: str) -> float:
    hours, minutes, seconds = (int(found[which + name] or 0) for name in ("hours", "minutes", "seconds"))
    whole = float(f"{3600 * hours + 60 * minutes + seconds}.{found[which + 'fraction'] or 0}")
    return -whole if found[which + "sign"] else whole
