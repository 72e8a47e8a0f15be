"""What a server did instead of answering, in one line: refusal or failure, how long to wait, and the remedy."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from rag.errors import ModelError

KEY_VARIABLE = "RAG_API_KEY"
LONGEST_WAIT = 60.0
"""Seconds that a server may ask to be left alone before its next try; beyond, the user is told when to come back."""
_YEAR = 365 * 86_400.0
_PASSING = frozenset({408, 409, 429})
_CONTEXT = re.compile(r"context|too long|too large|maximum.{0,20}tokens", re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class ServerError(ModelError):
    """What a server did instead of answering.

    ``status``: of HTTP, None when it did not come to that. ``reason``: the server's own words, without control
    characters and keys. ``again``: it may go better next time; ``wait``: but not within that many seconds.
    """

    def __init__(
        self,
        what: str,
        remedy: str,
        *,
        status: int | None = None,
        reason: str = "",
        again: bool = False,
        wait: float = 0.0,
    ) -> None:
        super().__init__(f"{what}: {remedy}")
        self.what = what
        self.remedy = remedy
        self.status = status
        self.reason = reason
        self.again = again
        self.wait = wait

    @property
    def too_long(self) -> bool:
        """The prompt does not fit the server's context."""
        return _too_long(self.status, self.reason)


def refusal(base: str, status: int, reason: str, wait: float) -> ServerError:
    """The error for an HTTP status of the server at ``base``; ``reason``: its own words, harmless to show.

    ``wait``: seconds that it asks to be left alone, 0 when it does not ask.
    """
    if status >= 500 and "validation error" in reason:
        status = 422  # llama-cpp-python's server answers requests that it cannot read with 500
    failed = status >= 500
    why = f"{status}: {reason[:200]}" if reason else str(status)
    what = f"{base} failed ({why})" if failed else f"{base} refused the request ({why})"
    if (failed or status in _PASSING) and wait > LONGEST_WAIT:
        back = f"{datetime.fromtimestamp(time.time() + wait):%Y-%m-%d %H:%M}"
        return ServerError(what, f"come back in {wait:.0f} s, at {back}", status=status, reason=reason)
    remedy = "look at the server's log" if failed else _remedy(status, reason)
    again = failed or status in _PASSING
    return ServerError(what, remedy, status=status, reason=reason, again=again, wait=wait)


def _too_long(status: int | None, reason: str) -> bool:
    return status == 413 or (status in (400, 422) and _CONTEXT.search(reason) is not None)


def _remedy(status: int, reason: str) -> str:
    if _too_long(status, reason):
        return "it is more than the server's context holds; lower -k, --max-answer-tokens or --context-window"
    return {
        401: f"set {KEY_VARIABLE} to a key that this server takes",
        403: f"set {KEY_VARIABLE} to a key that may use this model",
        404: "check the URL and the model's name (URL#name)",
        429: "try again later",
    }.get(status, "check the model's name (URL#name) and the server's settings")


def reason_in(body: str) -> str:
    """The server's own words in the body of an error, wherever they are."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return body
    for name in ("error", "detail", "message"):
        if isinstance(found, dict) and found.get(name):
            found = found[name]
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)


def asked_wait(headers: Mapping[str, str], now: float) -> float:
    """Seconds that a response asks to wait, 0 when it does not, a year at most; ``now`` in seconds since 1970.

    ``Retry-After`` (seconds or an HTTP date), else the ``x-ratelimit-reset-*`` of what is used up.
    """
    if (after := headers.get("retry-after", "").strip()) and (asked := _seconds(after, now)) is not None:
        return min(asked, _YEAR)
    resets: dict[bool, list[float]] = {True: [], False: []}
    for name, value in headers.items():
        kind = name.lower().removeprefix("x-ratelimit-reset-")
        if kind != name.lower() and (asked := _seconds(value, now)) is not None:
            resets[headers.get(f"x-ratelimit-remaining-{kind}", "").strip() == "0"].append(asked)
    return min(max(resets[True], default=min(resets[False], default=0.0)), _YEAR)


def _seconds(value: str, now: float) -> float | None:
    """From ``12``, ``1.5``, seconds since 1970, ``6m0s``, ``20ms`` or an HTTP date; None for anything else."""
    if re.fullmatch(r"\d{1,12}(\.\d+)?", value):
        number = float(value)
        return max(0.0, number - now) if number > 1e9 else number
    if re.fullmatch(rf"(?:{_DURATION.pattern})+", value):
        return sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(value))
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now)
