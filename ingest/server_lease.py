"""Who may write an index on a server: one process at a time, by a point that says who and until when.

It is taken by a conditional upsert, which a server applies one at a time, and read back. A server before version 1.16
knows no conditions: of two processes that take it in the same instant the first then loses it, and is told so before it
writes more. Clocks of machines that write the same index may differ by a minute or two, not by more.
"""

from __future__ import annotations

import os
import platform
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ingest.errors import IndexInUseError
from ingest.server_client import Server
from ingest.server_layout import LEASE_ID

LEASE_S = 600.0
"""How long a process that gives no sign of life keeps others out: longer than the parser takes for one file."""


class Lease:
    """The right to write one index. It is renewed whenever it is asked for; release it."""

    def __init__(self, server: Server, collection: str, clock: Callable[[], float] = time.time) -> None:
        """``collection``: the one with the facts. ``clock``: seconds since 1970."""
        self._server = server
        self._collection = collection
        self._clock = clock
        self._token = uuid.uuid4().hex
        self.held = False

    def hold(self) -> bool:
        """Take or renew it; True when it was taken.

        Raises :class:`ingest.errors.IndexInUseError` while another process has it, or when one has taken it from this
        one, which had given no sign of life for too long.
        """
        found = self._read()
        now = self._clock()
        gone = ""
        if found is not None and found["token"] != self._token:
            if self.held:
                raise IndexInUseError(
                    self._told(found, "was taken over, as this process had been silent for too long,")
                )
            if found["until"] > now and not _dead(found):
                raise IndexInUseError(self._told(found, "is being written"))
            gone = found["token"]
        self._write(now + LEASE_S, gone)
        found = self._read()
        if found is None or found["token"] != self._token:
            raise IndexInUseError(self._told(found or {}, "is being written"))
        taken, self.held = not self.held, True
        return taken

    def release(self) -> None:
        """Let others write; safe to call twice."""
        if self.held:
            self.held = False
            self._write(0.0, "")

    def _read(self) -> dict[str, Any] | None:
        found = self._server.ask(self._server.client.retrieve, self._collection, [LEASE_ID], with_payload=True)
        return found[0].payload if found else None

    def _write(self, until: float, instead_of: str) -> None:
        """Only where nobody has it, or who had it is ``instead_of``, or this process."""
        from qdrant_client import models

        payload = {"kind": "lease", "token": self._token, "until": until, "pid": os.getpid()} | _here()
        tokens = models.MatchAny(any=[token for token in (self._token, instead_of) if token])
        self._server.ask(
            self._server.client.upsert,
            self._collection,
            [models.PointStruct(id=LEASE_ID, vector={}, payload=payload)],
            update_filter=models.Filter(must=[models.FieldCondition(key="token", match=tokens)]),
            wait=True,
        )

    def _told(self, found: dict[str, Any], how: str) -> str:
        who = f"a process on {found.get('host', 'another machine')} (pid {found.get('pid', 'unknown')})"
        minutes = max(1, round((float(found.get("until", 0.0)) - self._clock()) / 60))
        return (
            f"the index on {self._server.shown} {how} by {who}: wait for it; if it died, "
            f"others may write in {minutes} min"
        )


def _here() -> dict[str, str]:
    """This machine, and, where processes are numbered anew in a container, this container."""
    space = Path("/proc/self/ns/pid")
    number = space.stat().st_ino if space.exists() else 0
    return {"host": platform.node(), "machine": f"{platform.node()} {uuid.getnode():x} {number}"}


def _dead(found: dict[str, Any]) -> bool:
    """Whether it is a process of this machine that has ended."""
    if found.get("machine") != _here()["machine"] or sys.platform == "win32":
        return False
    try:
        os.kill(int(found["pid"]), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
