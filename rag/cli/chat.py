"""``rag chat``: a conversation at a terminal or from a pipe, kept in a session unless it is not to be."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from rag.cli import options
from rag.cli.output import emit, note, print_sources, safe, waiting

if TYPE_CHECKING:
    from ingest.document_index import PassageIndex
    from ingest.filters import Filters
    from prompts.types import LedgerEntry
    from rag.chat import RagChat
    from rag.cli.lines import Lines
    from rag.model import ChatModel
    from rag.session_log import SessionLog
    from rag.sessions import CurrentText, Session
    from rag.settings import Settings

COMMANDS = {
    "/new": "start over; what was said is not used any more",
    "/sources": "the passages of the last answer",
    "/why": "what the last answer rests on, and what its prompt was made of",
    "/save": "[NAME] keep the conversation under this name",
    "/quit": "end",
    "/help": "this list",
}


@options.takes_settings(*options.GENERATE, "sessions")
def chat(
    session: Annotated[
        Optional[str], typer.Option("--session", help="Go on with the session of this name, or begin it.")
    ] = None,
    filter_: options.Filter = None,
    no_log: Annotated[
        bool, typer.Option("--no-log", help="Keep nothing; with --session, go on with it and leave it as it is.")
    ] = False,
    keep_state: Annotated[
        bool,
        typer.Option(
            "--keep-state",
            help="At the end also keep what the model has read: a large file, but resuming need not read it again.",
        ),
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="For programs: a line of input a question, one JSON object a line an answer.")
    ] = False,
    *,
    flags: options.Flags,
) -> None:
    """A conversation at the terminal, kept in a file of yours; /help lists its commands, Ctrl-C stops an answer."""
    from ingest.filters import parse_filters
    from rag.cli.lines import QuietLines, open_lines
    from rag.cli.parts import open_chat
    from rag.session_log import SessionLog
    from rag.settings import resolve

    settings = resolve(flags).settings
    filters = parse_filters(filter_ or ())
    with SessionLog(Path(settings.sessions)) as log:
        resumed = _open_session(log, session, keep=not no_log, settings=settings)
        with open_chat(settings) as chat_:
            log.index, log.model = settings.location, chat_.model.name
            with waiting("loading the embedding model"):
                # Its libraries do not stand an interrupted import, so this must not be left to the first question.
                chat_.retriever.similarity("", [])
            if gone := log.drop_changed(current_text(chat_.retriever.index)):
                note(f"passages that have changed or gone since, and are not used again: {gone}")
            note("Ask away. /help lists the commands; Ctrl-C stops an answer, Ctrl-D ends.")
            earlier = [logged.turn.question for logged in resumed.turns] if resumed else []
            if resumed:
                _load_state(chat_.model, log)
            try:
                lines = QuietLines() if json else open_lines(earlier, COMMANDS)
                Talk(chat_, log, lines, json=json, filters=filters).run()
            finally:
                if keep_state:
                    _save_state(chat_.model, log)


def _open_session(log: SessionLog, name: str | None, *, keep: bool, settings: Settings) -> Session | None:
    """Begin or resume, say which, and return what was resumed."""
    resumed = None
    if name is not None:
        resumed = log.resume(name, keep=keep)
        if resumed:
            _print_resumed(resumed, settings)
        if not keep:
            note("It is only read: nothing that is said now is kept (/save NAME keeps it as another).")
    elif keep:
        log.begin_by_time()
    if keep and not resumed:
        note(f"This conversation is kept as {log.name} in {safe(str(log.folder))} (--no-log keeps none).")
    return resumed


def _print_resumed(session: Session, settings: Settings) -> None:
    note(f"Session {session.name}: {len(session.current)} turns" + (" since /new" if len(session.starts) > 1 else ""))
    if session.torn:
        note("its last line was cut off when the program was killed; that turn is left out")
    if session.index and session.index != settings.location:
        note(f"it was made with the index {safe(session.index)}, not {safe(settings.location)}")
    if session.current:
        last = session.current[-1].turn
        note(f"\n> {_short(last.question)}\n\n{_short(last.answer)}\n")


def _load_state(model: ChatModel, log: SessionLog) -> None:
    """Take up what an earlier ``--keep-state`` kept, if it is there and of this very model."""
    from rag.llama import LlamaModel

    if isinstance(model, LlamaModel) and log.name and (tokens := model.load_state(log.folder, log.name)):
        note(f"{tokens} tokens need not be read again")


def _save_state(model: ChatModel, log: SessionLog) -> None:
    from rag.errors import SessionError
    from rag.llama import LlamaModel
    from rag.sessions import remove_states

    if log.file is None:
        note("what the model has read is not kept either")
        return
    if not log.turns:
        return
    if not isinstance(model, LlamaModel):
        note("what a model on a server has read cannot be kept")
        return
    try:
        remove_states(log.file)
        size = model.save_state(log.folder, log.name)
    except OSError as error:
        raise SessionError(f"what the model has read cannot be kept ({error}): make room in {log.folder}") from error
    note(f"kept what the model has read: {size / 2**20:.0f} MB")


def _short(text: str) -> str:
    return shorten(safe(text), width=300, placeholder=" ...")


def current_text(index: PassageIndex) -> CurrentText:
    """What the documents of an index say today; nothing where the index keeps no texts."""
    from ingest.document_index import DocumentIndex
    from ingest.errors import SourceNotFoundError

    texts: dict[str, str | None] = {}

    def text_of(source: str) -> str | None:
        if not isinstance(index, DocumentIndex):
            return None
        try:
            found = index.catalogue.find(source)
        except SourceNotFoundError:
            return None
        return index.catalogue.text(found.document_id) if found.source == source else None

    def current(source: str, start: int, end: int) -> str | None:
        if source not in texts:
            texts[source] = text_of(source)
        text = texts[source]
        return None if text is None else text[start:end]

    return current


class Talk:
    """Lines in, answers out, until the lines or the user end it. The log holds the conversation."""

    def __init__(
        self, chat_: RagChat, log: SessionLog, lines: Lines, *, json: bool = False, filters: Filters | None = None
    ) -> None:
        self._chat = chat_
        self._filters = filters
        self._json = json
        self._log = log
        self._lines = lines
        self._ledger: tuple[LedgerEntry, ...] = ()
        self._commands: dict[str, Callable[[], None]] = {
            "/new": self._new,
            "/sources": self._sources,
            "/why": self._why,
            "/save": self._save,
            "/help": self._help,
        }

    def run(self) -> None:
        """Ends at /quit, Ctrl-D or the end of a pipe."""
        from rag.errors import USER_ERRORS

        while (line := self._lines.read()) not in {None, "/quit"}:
            try:
                self._take(line or "")
            except USER_ERRORS as error:
                note(f"error: {safe(' '.join(str(error).split()))}")
            except KeyboardInterrupt:
                if not self._lines.interactive:
                    raise
                note("\nstopped")
        if self._log.name and self._log.turns:
            note(f"kept as {self._log.name}: rag chat --session {self._log.name} goes on with it")

    def _take(self, line: str) -> None:
        command, _, rest = line.partition(" ")
        if not line.startswith("/"):
            if line:
                self._ask(line)
        elif self._json and line in {"/sources", "/why"}:
            note(f"{line} is for people: with --json every answer has its passages and its reasons")
        elif command == "/save" and rest.strip():
            self._save(rest.strip())
        elif line in self._commands:
            self._commands[line]()
        else:
            note(f"there is no command {safe(_short(line))}; a question does not begin with '/'")
            self._help()

    def _ask_for_program(self, question: str) -> None:
        from rag.errors import USER_ERRORS

        try:
            answer = self._chat.ask(question, self._log.conversation, filters=self._filters)
            with _undisturbed():
                self._log.add(answer)
        except USER_ERRORS as error:
            emit({"question": question, "error": " ".join(str(error).split())})
            return
        emit(answer.as_json())

    def _ask(self, question: str) -> None:
        from rag.cli.parts import stream_answer

        if self._json:
            self._ask_for_program(question)
            return
        try:
            answer = stream_answer(self._chat, question, self._log.conversation, filters=self._filters)
        except KeyboardInterrupt:
            if not self._lines.interactive:
                raise
            note("\nstopped; the question and what was answered are not part of the conversation")
            return
        self._ledger = answer.prompt.ledger if answer.prompt else ()
        try:
            with _undisturbed():
                self._log.add(answer)
        finally:
            print_sources(answer)

    def _new(self) -> None:
        self._ledger = ()
        self._log.new()
        note("forgotten; the next question begins a new conversation" + (" in this session" if self._log.name else ""))

    def _sources(self) -> None:
        if not self._log.turns:
            note("no answer yet")
            return
        passages = self._log.conversation.turns[-1].passages
        for passage in passages:
            typer.echo(f"[{passage.number}] {safe(passage.source)}\n{safe(passage.text)}\n")
        if gone := len(self._log.turns[-1].turn.passages) - len(passages):
            note(f"and passages that have changed or gone since: {gone}")
        elif not passages:
            note("no passage stood before the model")

    def _why(self) -> None:
        if not self._log.turns:
            note("no answer yet")
            return
        logged = self._log.turns[-1]
        if logged.turn.standalone != logged.turn.question:
            typer.echo(f"searched for: {safe(logged.turn.standalone)}")
        typer.echo(safe(logged.why) or "answered from the passages; every sentence is supported")
        for entry in self._ledger:
            typer.echo(f"  {entry.tokens:6d} tokens  {entry.action:9s} {safe(entry.part)}: {entry.why}")

    def _save(self, name: str = "") -> None:
        if name:
            self._log.save(name)
        elif not self._log.name:
            self._log.begin_by_time()
        note(f"kept as {self._log.name} in {safe(str(self._log.folder))}")

    def _help(self) -> None:
        for name, about in COMMANDS.items():
            note(f"  {name:8s}  {about}")


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ctrl-C does nothing meanwhile: there is no answer left to stop, and what is complete shall be kept."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
