"""The conversation that is going on, and its file: every finished turn is on disk before anything else happens."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from itertools import count
from pathlib import Path

from filelock import FileLock

from rag.errors import SessionError
from rag.sessions import (
    CurrentText,
    LoggedTurn,
    Session,
    claim,
    header_line,
    load,
    new_line,
    now,
    release,
    remove_states,
    session_file,
    summary_line,
    turn_line,
    without_changed,
)
from rag.types import Answer, Conversation


class SessionLog:
    """A conversation; with a name it is kept in a file, without one it is remembered only until :meth:`close`.

    ``conversation`` is what the next question is to be asked with. ``turns`` are its turns as they are kept.
    ``index`` and ``model`` are told to whoever reads the file; set them before the first :meth:`add`.
    The file comes to be with the first turn. Not for two threads at once.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file: Path | None = None
        self.index = self.model = ""
        self.turns: list[LoggedTurn] = []
        self.conversation = Conversation()
        self._lock: FileLock | None = None
        self._handle: int | None = None
        self._size = 0
        self._unwritten = b""

    def __enter__(self) -> SessionLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def name(self) -> str:
        """Of the session; empty as long as none is kept."""
        return self.file.stem if self.file else ""

    def begin(self, name: str) -> None:
        """Keep what follows, and what was said since the last ``/new``, under a name that is free.

        Raises :class:`SessionError` when it is taken.
        """
        self._take(session_file(self.folder, name))
        self._unwritten = self._whole()
        if self.turns:
            self._write()

    def begin_by_time(self) -> None:
        """:meth:`begin` under a name made of the local time."""
        wanted = time.strftime("%Y-%m-%dT%H-%M-%S")
        taken = {file.stem for file in self.folder.glob(f"{wanted}*")} | {
            file.name[1:].removesuffix(".jsonl.lock") for file in self.folder.glob(f".{wanted}*.lock")
        }
        self.begin(next(name for n in count(1) if (name := f"{wanted}-{n}" if n > 1 else wanted) not in taken))

    def resume(self, name: str, *, keep: bool = True) -> Session | None:
        """Go on with a session after its last ``/new``, and return it; None, and begin it, when there is none.

        What a killed process left of a last line is cut off. Without ``keep`` the file is only read: then there must
        be one.
        """
        file = session_file(self.folder, name)
        if keep:
            self._lock = claim(file)
            self.file = file
            if not file.exists():
                return None
        session = load(self.folder, name)
        self.turns = list(session.current)
        self.conversation = session.conversation
        if keep:
            self._reopen(file, session)
        return session

    def _reopen(self, file: Path, session: Session) -> None:
        try:
            self._handle = os.open(file, os.O_RDWR | os.O_APPEND)
            os.ftruncate(self._handle, session.size)
            self._size = session.size
            if self._size and os.pread(self._handle, 1, self._size - 1) != b"\n":
                self._size += os.write(self._handle, b"\n")
        except OSError as error:
            raise self._cannot(error) from error

    def drop_changed(self, current: CurrentText) -> int:
        """Leave passages out of the conversation that their documents no longer hold; returns how many.

        The file keeps them: it says what was shown then.
        """
        self.conversation, gone = without_changed(self.conversation, current)
        return gone

    def add(self, answer: Answer) -> LoggedTurn:
        """Go on with the answer's conversation, and keep its last turn: it is on disk when this returns.

        Raises :class:`SessionError` when it cannot be written; it is remembered then, and written with the next.
        """
        logged = LoggedTurn(
            time=now(),
            turn=answer.conversation.turns[-1],
            refused=answer.refused,
            why=answer.why,
            citations=answer.citations,
            usage=answer.usage,
        )
        before, self.conversation = self.conversation, answer.conversation
        self.turns.append(logged)
        self._unwritten += turn_line(logged)
        if (before.summary, before.folded) != (self.conversation.summary, self.conversation.folded):
            self._unwritten += summary_line(self.conversation)
        self._write()
        return logged

    def new(self) -> None:
        """Start over. The file keeps what was said and marks the place."""
        if self.turns:
            self._unwritten += new_line()
        self.turns, self.conversation = [], Conversation()
        self._write()

    def save(self, name: str) -> None:
        """Give the conversation this name from now on; see :meth:`begin`. A kept one keeps nothing under its old."""
        if self.file is None:
            self.begin(name)
            return
        old, held, new = self.file, self._lock, session_file(self.folder, name)
        if new == old:
            return
        self._take(new)
        try:
            if self._handle is not None:
                remove_states(old)
                old.rename(new)
        except OSError as error:
            assert self._lock is not None
            release(new, self._lock)
            self.file, self._lock = old, held
            raise SessionError(
                f"{old} cannot be renamed to {new.name} ({error.strerror}): check the permissions of {self.folder}"
            ) from error
        if held is not None:
            release(old, held)

    def close(self) -> None:
        """Give the file back; safe to call twice."""
        if self._handle is not None:
            os.close(self._handle)
        if self.file is not None and self._lock is not None:
            release(self.file, self._lock)
        self._handle = self._lock = self.file = None

    def _take(self, file: Path) -> None:
        lock = claim(file)
        if file.exists():
            release(file, lock)
            raise SessionError(
                f"there is a session {file.stem!r} already: choose another name, or delete it first with "
                f"'rag sessions delete {file.stem}'"
            )
        self.file, self._lock = file, lock

    def _whole(self) -> bytes:
        told = self.conversation.summary or self.conversation.folded
        return b"".join(map(turn_line, self.turns)) + (summary_line(self.conversation) if told else b"")

    def _write(self) -> None:
        """Append what is unwritten, durably and whole, or leave the file as it was."""
        if self.file is None:
            self._unwritten = b""
        if self.file is None or not self._unwritten:
            return
        try:
            handle = self._opened(self.file)
            if not os.fstat(handle).st_nlink:
                self._detach()
                return
            data = self._unwritten if self._size else header_line(self.index, self.model) + self._unwritten
            written = 0
            try:
                while written < len(data):
                    written += os.write(handle, data[written:])
                os.fsync(handle)
            except BaseException:
                with suppress(OSError):
                    os.ftruncate(handle, self._size)
                raise
        except OSError as error:
            raise self._cannot(error) from error
        self._size += len(data)
        self._unwritten = b""

    def _opened(self, file: Path) -> int:
        if self._handle is None:
            self._handle = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
            directory = os.open(file.parent, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        return self._handle

    def _detach(self) -> None:
        file = self.file
        self.close()
        self._size, self._unwritten = 0, b""
        raise SessionError(
            f"{file} was deleted while it was in use, and nothing is kept now: /save NAME keeps it again"
        )

    def _cannot(self, error: OSError) -> SessionError:
        return SessionError(
            f"{self.file} cannot be written ({error.strerror}): make room or check its permissions; what is missing "
            "is written with the next turn"
        )
