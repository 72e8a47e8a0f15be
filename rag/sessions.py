"""Kept conversations: one plain file each, ``NAME.jsonl`` in the folder of sessions, which only ever grows.

Its first line says what the file is; each turn is a line, and so is a new summary and each ``/new``. Line ends are
LF alone. :class:`rag.session_log.SessionLog` writes such files; here they are named, locked, read, listed and deleted.
"""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from dataclasses import MISSING, asdict, dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar, get_args

from filelock import FileLock, Timeout

from rag.errors import SessionError
from rag.types import Citation, CitationStatus, Conversation, Passage, Turn, Usage

FORMAT_VERSION = 1
_SUFFIX = ".jsonl"
_HEAD = b'{"kind": "session"'
_NAME = re.compile(r"\w[\w.-]*")
_LONGEST_NAME = 200
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Allowed in JSON, but nothing that an editor or terminal should meet: controls, line ends, bidi marks, surrogates."""
_T = TypeVar("_T")
CurrentText = Callable[[str, int, int], str | None]
"""``(source, start, end)`` -> what a document says there today; None when it is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedTurn:
    """A turn as it is kept. ``time``: when its answer was complete, ISO 8601 with the offset of local time."""

    time: str
    turn: Turn
    refused: bool
    why: str
    citations: tuple[Citation, ...]
    usage: Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A session as its file holds it.

    ``turns``: all of them; ``starts``: at which of them, from 0, a conversation begins: the first, and one for each
    ``/new``; ``conversation`` is the last one.
    ``created`` and the rest of the first line are empty when that line itself was cut off. ``size``: bytes of the
    file up to its last whole line; ``torn``: bytes behind that, of a line that a killed process left.
    """

    name: str
    created: str
    index: str
    model: str
    turns: tuple[LoggedTurn, ...]
    starts: tuple[int, ...]
    conversation: Conversation
    size: int
    torn: int

    @property
    def current(self) -> tuple[LoggedTurn, ...]:
        """The turns of ``conversation``."""
        return self.turns[self.starts[-1] :]


def session_file(folder: Path, name: str) -> Path:
    """Where a session is kept. Raises :class:`SessionError` for what is no name; ``.jsonl`` at its end is left off."""
    plain = unicodedata.normalize("NFC", name).removesuffix(_SUFFIX)
    if not _NAME.fullmatch(plain) or len(plain.encode()) > _LONGEST_NAME:
        raise SessionError(
            f"{name!r} cannot name a session: use up to {_LONGEST_NAME} letters, digits, '-', '_' and '.', "
            "beginning with a letter or digit"
        )
    return folder / (plain + _SUFFIX)


def claim(file: Path) -> FileLock:
    """Take a session for this process alone; ends with :func:`release`. The session need not exist yet.

    Raises :class:`SessionError` when another process has it, or when its folder cannot be written.
    """
    mark = _mark(file)
    lock = FileLock(mark, mode=0o600)
    try:
        file.parent.parent.mkdir(parents=True, exist_ok=True)
        file.parent.mkdir(mode=0o700, exist_ok=True)
        lock.acquire(timeout=0)
        mark.write_text(str(os.getpid()))
    except Timeout as error:
        holder = mark.read_text().strip() if mark.is_file() else ""
        raise SessionError(
            f"session {file.stem!r} is in use by another process (pid {holder or 'unknown'}): end it there, or take "
            "another name with --session"
        ) from error
    except OSError as error:
        raise SessionError(
            f"sessions cannot be kept in {file.parent} ({error.strerror}): pass another folder with --sessions, or "
            "keep none with --no-log"
        ) from error
    return lock


def release(file: Path, lock: FileLock) -> None:
    """Give a claimed session back. Its mark goes first, while nobody else can hold it."""
    with suppress(OSError):
        _mark(file).unlink()
    lock.release()


def _mark(file: Path) -> Path:
    return file.with_name(f".{file.name}.lock")


def load(folder: Path, name: str) -> Session:
    """A session from its file. Raises :class:`SessionError` when there is none, or naming the line that is damaged.

    A last line that was cut off, which a killed process leaves, is no damage: see :attr:`Session.torn`.
    """
    file = require(folder, name)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise SessionError(f"{file} cannot be read ({error.strerror}): check its permissions") from error
    return _parsed(file, data)


def list_sessions(folder: Path) -> list[Session | SessionError]:
    """Every session, the one used last first, and behind them an error for each that is damaged."""
    files = sorted(file for file in folder.glob(f"*{_SUFFIX}") if _NAME.fullmatch(file.stem))
    found: list[Session] = []
    damaged: list[SessionError] = []
    for file in files:
        try:
            found.append(load(folder, file.stem))
        except SessionError as error:
            damaged.append(error)
    return [*sorted(found, key=lambda session: session.turns[-1].time if session.turns else "", reverse=True), *damaged]


def require(folder: Path, name: str) -> Path:
    """The file of a session that there is, damaged or not. Raises :class:`SessionError` when there is none."""
    file = session_file(folder, name)
    if not os.path.isfile(file):  # noqa: PTH113  Path.is_file raises for a folder that must not be looked into
        raise SessionError(f"no session {file.stem!r} in {folder}: 'rag sessions list' shows which there are")
    return file


def delete(folder: Path, name: str) -> None:
    """Remove a session's files. Raises :class:`SessionError` when there is none or it is in use."""
    file = require(folder, name)
    lock = claim(file)
    try:
        remove_states(file)
        file.unlink()
    except OSError as error:
        raise SessionError(f"{file} cannot be deleted ({error.strerror}): check its permissions") from error
    finally:
        release(file, lock)


def remove_states(session: Path) -> None:
    """Remove what models had read in a session (:meth:`rag.llama.LlamaModel.save_state`), also what a killed process
    left of it. Raises OSError."""
    of_session = re.compile(re.escape(session.stem) + r"\.[0-9a-f]{16}\.state(?:\.new)?")
    for file in session.parent.iterdir():
        if of_session.fullmatch(file.name):
            file.unlink()


def without_changed(conversation: Conversation, current: CurrentText) -> tuple[Conversation, int]:
    """The conversation without the passages that their documents no longer hold, and how many different ones went.

    The numbers of those that stay are left as they are: the answers refer to them.
    """
    gone: set[tuple[str, int, int]] = set()
    turns = []
    for turn in conversation.turns:
        kept = tuple(p for p in turn.passages if current(p.source, p.start, p.end) == p.text)
        gone |= {(p.source, p.start, p.end) for p in turn.passages if p not in kept}
        turns.append(replace(turn, passages=kept))
    return replace(conversation, turns=tuple(turns)), len(gone)


def now() -> str:
    """The time as it is kept."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def header_line(index: str, model: str) -> bytes:
    """The first line of a file."""
    return _line("session", {"format": FORMAT_VERSION, "created": now(), "index": index, "model": model})


def turn_json(logged: LoggedTurn) -> dict[str, Any]:
    """A turn as its line holds it and as ``rag sessions show --json`` prints it."""
    turn = logged.turn
    return {
        "time": logged.time,
        "question": turn.question,
        "standalone": turn.standalone,
        "answer": turn.answer,
        "refused": logged.refused,
        "why": logged.why,
        "citations": [asdict(citation) for citation in logged.citations],
        "passages": [asdict(passage) for passage in turn.passages],
        "usage": asdict(logged.usage),
    }


def turn_line(logged: LoggedTurn) -> bytes:
    """The line of a turn."""
    return _line("turn", turn_json(logged))


def summary_line(conversation: Conversation) -> bytes:
    """The line that says what the oldest turns stand in the prompt as from now on."""
    return _line("summary", {"time": now(), "summary": conversation.summary, "folded": conversation.folded})


def new_line() -> bytes:
    """The line that ends a conversation; what follows is another."""
    return _line("new", {"time": now()})


def _line(kind: str, values: dict[str, Any]) -> bytes:
    text = json.dumps({"kind": kind} | values, ensure_ascii=False)
    return (_ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n").encode()


def _parsed(file: Path, data: bytes) -> Session:
    *lines, last = data.split(b"\n")
    torn = 0
    if last and not _is_whole(last):
        if not lines and not (last.startswith(_HEAD) or _HEAD.startswith(last)):
            raise _damage(file, 1, "this is no session")
        torn = len(last)
    elif last:
        lines.append(last)
    reader = _Reader(file.stem)
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            reader.take(json.loads(line.decode()))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            what = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
            raise _damage(file, number, what) from error
    return Session(
        name=file.stem,
        created=reader.created,
        index=reader.index,
        model=reader.model,
        turns=tuple(reader.turns),
        starts=tuple(reader.starts),
        conversation=reader.conversation,
        size=len(data) - torn,
        torn=torn,
    )


def _is_whole(line: bytes) -> bool:
    """Whether a line without its end is complete; the beginning of an object never is one."""
    try:
        return isinstance(json.loads(line.decode()), dict)
    except (ValueError, RecursionError):
        return False


def _damage(file: Path, number: int, what: str) -> SessionError:
    return SessionError(
        f"{file}, line {number} is damaged ({what}): mend or remove the line, or the session with "
        f"'rag sessions delete {file.stem}'"
    )


class _Reader:
    """The lines of a file in turn -> what they add up to. Raises ValueError, KeyError or TypeError for a wrong one."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.created = self.index = self.model = ""
        self.turns: list[LoggedTurn] = []
        self.starts = [0]
        self.conversation = Conversation()
        self._began = False

    def take(self, row: Any) -> None:
        if not isinstance(row, dict):
            raise TypeError("no JSON object")
        kind = row.get("kind")
        if (kind == "session") == self._began:
            raise ValueError("a second first line" if self._began else "this is no session")
        if kind == "session":
            self._take_header(row)
        elif kind == "turn":
            logged = _logged_turn(row)
            self.turns.append(logged)
            self.conversation = replace(self.conversation, turns=(*self.conversation.turns, logged.turn))
        elif kind == "summary":
            self._take_summary(row)
        elif kind == "new":
            self.starts.append(len(self.turns))
            self.conversation = Conversation()
        else:
            raise ValueError(f"unknown kind {kind!r}")

    def _take_header(self, row: dict[str, Any]) -> None:
        if row["format"] != FORMAT_VERSION:
            raise ValueError(f"format {row['format']!r}, but this version of rag reads format {FORMAT_VERSION}")
        self.created, self.index, self.model = (_typed(row, name, str) for name in ("created", "index", "model"))
        self._began = True

    def _take_summary(self, row: dict[str, Any]) -> None:
        folded = _typed(row, "folded", int)
        if not 0 <= folded <= len(self.conversation.turns):
            raise ValueError(f"{folded} turns are summarised, but there are {len(self.conversation.turns)}")
        self.conversation = replace(self.conversation, summary=_typed(row, "summary", str), folded=folded)


def _logged_turn(row: dict[str, Any]) -> LoggedTurn:
    return LoggedTurn(
        time=_typed(row, "time", str),
        turn=Turn(
            question=_typed(row, "question", str),
            standalone=_typed(row, "standalone", str),
            answer=_typed(row, "answer", str),
            passages=tuple(_record(Passage, item) for item in _typed(row, "passages", list)),
        ),
        refused=_typed(row, "refused", bool),
        why=_typed(row, "why", str),
        citations=tuple(_record(Citation, item) for item in _typed(row, "citations", list)),
        usage=_record(Usage, _typed(row, "usage", dict)),
    )


def _typed(row: dict[str, Any], name: str, type_: type[_T]) -> _T:
    value = row[name]
    if not isinstance(value, type_) or (isinstance(value, bool) and type_ is not bool):
        raise TypeError(f"{name} is of the wrong type")
    return value


_FIELD_TYPES: dict[str, Callable[[Any], bool]] = {
    "str": lambda value: isinstance(value, str),
    "int": lambda value: type(value) is int,
    "float": lambda value: type(value) in {int, float},
    "tuple[int, ...]": lambda value: isinstance(value, list) and all(type(item) is int for item in value),
    "tuple[str, ...]": lambda value: isinstance(value, list) and all(isinstance(item, str) for item in value),
    "CitationStatus": lambda value: value in get_args(CitationStatus),
}


def _record(type_: type[_T], row: Any) -> _T:
    """A frozen dataclass from its JSON form; what the form has beyond the fields is passed over."""
    if not isinstance(row, dict):
        raise TypeError(f"{type_.__name__.lower()} is no object")
    values = {}
    for field in fields(type_):  # type: ignore[arg-type]
        if field.name not in row and field.default is not MISSING:
            continue
        value = row[field.name]
        if not _FIELD_TYPES[str(field.type)](value):
            raise TypeError(f"{field.name} is of the wrong type")
        values[field.name] = tuple(value) if isinstance(value, list) else value
    return type_(**values)
