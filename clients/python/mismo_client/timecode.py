"""Places in a track as people write them."""

from __future__ import annotations

import re

TIMECODE = re.compile(r"(?:(?:(?P<hours>\d+):)?(?P<minutes>\d+):)?(?P<seconds>\d+(?:\.\d+)?)")


def parse_timecode(text: str) -> float:
    """Seconds of "90", "1:30", "1:02:03.5"; raises ValueError with what is wrong."""
    match = TIMECODE.fullmatch(text.strip())
    if match is None:
        raise ValueError(
            f"{text!r} is no time; write seconds, m:ss or h:mm:ss, such as 90, 1:30 or 1:02:03.5"
        )
    hours, minutes, seconds = int(match["hours"] or 0), int(match["minutes"] or 0), float(match["seconds"])
    if match["minutes"] and seconds >= 60:
        raise ValueError(f"{text!r}: seconds after a colon must be less than 60")
    if match["hours"] and minutes >= 60:
        raise ValueError(f"{text!r}: minutes after a colon must be less than 60")
    return hours * 3600 + minutes * 60 + seconds


def format_timecode(seconds: float) -> str:
    """m:ss, or h:mm:ss past an hour."""
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
