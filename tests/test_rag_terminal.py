"""`rag chat`: its commands with a stub behind them, its editor, and the whole thing on a real terminal."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pexpect
import pyte
import pytest
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from typer.testing import CliRunner

from ingest.embed import open_embedder
from ingest.index import open_index
from ingest.pipeline import ingest
from rag.cli import parts
from rag.cli.chat import COMMANDS, Talk
from rag.cli.lines import ShownLines, TerminalLines
from rag.cli.main import app
from rag.errors import ModelError
from rag.session_log import SessionLog
from rag.sessions import load
from rag.types import Answer, Conversation, Passage, Timings, Turn, Usage

PASSAGE = Passage(
    number=1, text="Dogs\x1b[2J go free.", source="pets.txt", start=0, end=17, pages=(), headings=(), score=0.5
)


@dataclass
class StubChat:
    """Answers every question with "You asked QUESTION.", word by word; a word of it can be Ctrl-C or a failure."""

    retriever: Any = field(default_factory=lambda: SimpleNamespace(index=None, similarity=lambda *_: []))
    model: Any = field(default_factory=lambda: SimpleNamespace(name="stub"))
    running: int = 0
    asked_with: list[Conversation] = field(default_factory=list)

    def ask(self, question: str, conversation: Conversation, *, filters: None = None) -> Answer:
        *_, answer = self.stream(question, conversation, filters=filters)
        assert isinstance(answer, Answer)
        return answer

    def stream(
        self, question: str, conversation: Conversation, *, schema: None = None, filters: None = None
    ) -> Iterator[str | Answer]:
        assert schema is filters is None
        self.asked_with.append(conversation or Conversation())
        self.running += 1
        try:
            said = ""
            for word in f"You asked {question}.".split(" "):
                if word == "CTRL-C":
                    os.kill(os.getpid(), signal.SIGINT)
                if word == "FAIL":
                    raise ModelError("the model\nfailed")
                said += word + " "
                yield word + " "
            yield self._answer(question, said)
        finally:
            self.running -= 1

    def _answer(self, question: str, said: str) -> Answer:
        before = self.asked_with[-1]
        standalone = f"{question} (dogs)" if before.turns else question
        turn = Turn(question=question, standalone=standalone, answer=said, passages=(PASSAGE,))
        return Answer(
            question=question,
            standalone=standalone,
            text=said,
            refused=False,
            why="",
            citations=(),
            passages=(PASSAGE,),
            usage=Usage(),
            timings=Timings(),
            stop="end",
            prompt=None,
            conversation=Conversation(turns=(*before.turns, turn)),
        )


class Script(ShownLines):
    """Lines that a test wrote down; an exception among them is raised."""

    def __init__(self, *lines: str | BaseException, interactive: bool = True) -> None:
        self.interactive = interactive
        self._script = iter(lines)

    def _ask(self) -> str:
        line = next(self._script, None)
        if line is None:
            raise EOFError
        if isinstance(line, BaseException):
            raise line
        return line


@dataclass
class Room:
    """A conversation with the stub, kept in `folder` as "trip"."""

    chat: StubChat
    folder: Path
    capture: pytest.CaptureFixture[str]

    def talk(self, *lines: str | BaseException, interactive: bool = True) -> tuple[str, str]:
        with SessionLog(self.folder) as log:
            log.resume("trip")
            Talk(self.chat, log, Script(*lines, interactive=interactive)).run()  # type: ignore[arg-type]
        said = self.capture.readouterr()
        return said.out, said.err


@pytest.fixture
def room(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Room:
    return Room(StubChat(), tmp_path / "sessions", capsys)


def questions_of(conversation: Conversation) -> list[str]:
    return [turn.question for turn in conversation.turns]


def test_each_question_is_asked_with_the_conversation_so_far_and_kept(room: Room) -> None:
    out, err = room.talk("one", "", "two", "/new", "three", "/quit", "never")
    assert [questions_of(conversation) for conversation in room.chat.asked_with] == [[], ["one"], []]
    assert "You asked two." in out
    assert "rag chat --session trip" in err
    assert [logged.turn.question for logged in load(room.folder, "trip").turns] == ["one", "two", "three"]


def test_sources_and_why_explain_the_last_answer_harmlessly(room: Room) -> None:
    out, err = room.talk("/sources", "/why", "one", "/why", "/sources", "two", "/why")
    assert err.count("no answer yet") == 2
    assert "[1] pets.txt\nDogs\N{REPLACEMENT CHARACTER}[2J go free." in out
    assert out.count("searched for: ") == 1
    assert "searched for: two (dogs)" in out
    assert out.count("every sentence is supported") == 2


@pytest.mark.parametrize("line", ["/nonsense", "/", "/new now", "/quit please", "/etc/hosts\nwhat is this?"])
def test_what_is_no_command_is_told_and_all_are_listed(room: Room, line: str) -> None:
    _, err = room.talk(line)
    assert err.startswith("there is no command /")
    assert all(f"  {name} " in err for name in COMMANDS)
    assert room.chat.asked_with == []


def test_ctrl_c_stops_the_answer_and_the_conversation_goes_on_without_it(room: Room) -> None:
    out, err = room.talk("one", "stop CTRL-C here", "two")
    assert room.chat.running == 0
    assert "You asked stop" in out
    assert "here" not in out
    assert "stopped; the question and what was answered are not part of the conversation" in err
    assert questions_of(room.chat.asked_with[-1]) == ["one"]
    assert questions_of(load(room.folder, "trip").conversation) == ["one", "two"]


def test_ctrl_c_ends_a_piped_conversation(room: Room) -> None:
    with pytest.raises(KeyboardInterrupt):
        room.talk("one", "stop CTRL-C here", "two", interactive=False)
    assert room.chat.running == 0
    assert questions_of(load(room.folder, "trip").conversation) == ["one"]


def test_a_question_that_fails_is_one_line_and_the_next_is_answered(room: Room) -> None:
    out, err = room.talk("FAIL now", "two")
    assert "error: the model failed\n" in err
    assert "You asked two." in out
    assert room.chat.running == 0


def test_an_answer_that_cannot_be_kept_is_shown_and_told(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    out, err = room.talk("one")
    assert "You asked one." in out
    assert "cannot be written (No space left on device)" in err
    assert err.count("error: ") == 1


def test_save_names_the_conversation_and_takes_no_other_name(room: Room) -> None:
    room.talk("zero")
    (room.folder / "trip.jsonl").rename(room.folder / "taken.jsonl")
    _, err = room.talk("one", "/save better", "two", "/save taken", "/save ../out", "/save")
    assert "there is a session 'taken' already" in err
    assert "'../out' cannot name a session" in err
    assert err.count("kept as better in") == 2
    assert sorted(file.name for file in room.folder.iterdir()) == ["better.jsonl", "taken.jsonl"]
    assert len(load(room.folder, "better").turns) == 2


def test_ctrl_c_twice_ends_with_130_and_typing_between_forgives(room: Room) -> None:
    import typer

    with pytest.raises(typer.Exit) as ended:
        room.talk(KeyboardInterrupt(), "one", KeyboardInterrupt(), KeyboardInterrupt(), "never")
    assert ended.value.exit_code == 130
    assert room.capture.readouterr().err.count("Ctrl-C again or Ctrl-D ends the chat") == 2
    assert len(room.chat.asked_with) == 1


def typed(keys: str | bytes, *earlier: str, reads: int = 1) -> list[str | None]:
    """What the editor makes of these keys."""
    with create_pipe_input() as pipe:
        lines = TerminalLines(earlier, COMMANDS, input_=pipe, output=DummyOutput())
        pipe.send_bytes(keys.encode() if isinstance(keys, str) else keys)
        return [lines.read() for _ in range(reads)]


UP = "\x1b[A"


def test_the_editor_recalls_earlier_questions() -> None:
    assert typed(f"{UP}\r", "first", "second") == ["second"]
    assert typed(f"{UP}{UP}!\r", "first", "second") == ["first!"]


def test_a_pasted_text_keeps_its_lines_and_is_one_question() -> None:
    assert typed("\x1b[200~What is\r\nthis?\x1b[201~\r") == ["What is\nthis?"]


def test_what_is_no_text_is_replaced() -> None:
    assert typed(b"a\xffb\r") == ["a\N{REPLACEMENT CHARACTER}b"]


def test_ctrl_c_drops_what_was_typed_and_ctrl_d_ends() -> None:
    assert typed("half\x03whole\r\x04", reads=2) == ["whole", None]
    assert typed("half\x03more\x03\x03last\r") == ["last"]


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> StubChat:
    """The command line with the stub in place of index and model, in an empty folder."""
    chat = StubChat()

    @contextmanager
    def opened(*_: object, **__: object) -> Iterator[StubChat]:
        yield chat

    monkeypatch.setattr(parts, "open_chat", opened)
    monkeypatch.chdir(tmp_path)
    return chat


def piped(text: str | bytes, *options: str) -> Any:
    return CliRunner().invoke(app, ["chat", *options], input=text)


def test_a_pipe_is_a_conversation_kept_under_its_time(stub: StubChat) -> None:
    done = piped("one\n/sources\ntwo")
    assert (done.exit_code, done.stdout.count("You asked")) == (0, 2)
    assert done.stdout.startswith("\n> one\nYou asked one.")
    (file,) = Path(".rag/sessions").iterdir()
    assert f"kept as {file.stem} in .rag/sessions (--no-log keeps none)" in done.stderr
    head, *turns = map(json.loads, file.read_text().splitlines())
    assert (head["model"], head["index"]) == ("stub", ".rag/index")
    assert [turn["question"] for turn in turns] == ["one", "two"]


def test_a_program_gets_one_json_object_an_answer(stub: StubChat) -> None:
    done = CliRunner().invoke(app, ["chat", "--json", "--no-log"], input="one\n/why\nFAIL now\n/new\ntwo\n")
    assert done.exit_code == 0
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["question"] for row in rows] == ["one", "FAIL now", "two"]
    assert rows[0]["answer"].startswith("You asked one")
    assert rows[1] == {"question": "FAIL now", "error": "the model failed"}
    assert [questions_of(talk) for talk in stub.asked_with] == [[], ["one"], []]


def test_an_empty_conversation_leaves_no_file(stub: StubChat) -> None:
    assert piped("/new\n/why\n").exit_code == 0
    assert list(Path(".rag/sessions").iterdir()) == []


def test_no_log_writes_nothing_at_all(stub: StubChat) -> None:
    done = piped("one\n/new\ntwo\n", "--no-log", "--keep-state")
    assert (done.exit_code, "is not kept either" in done.stderr) == (0, True)
    assert list(Path().iterdir()) == []


def test_a_session_is_resumed_and_shows_where_it_was(stub: StubChat) -> None:
    piped("one\ntwo\n", "--session", "trip")
    done = piped("three\n", "--session", "trip")
    assert "Session trip: 2 turns" in done.stderr
    assert "> two\n\nYou asked two." in done.stderr
    assert questions_of(stub.asked_with[-1]) == ["one", "two"]
    assert len(load(Path(".rag/sessions"), "trip").turns) == 3
    assert stub.asked_with[-1].turns[0].passages == ()
    assert "passages that have changed or gone since, and are not used again: 1\n" in done.stderr
    done = piped("/sources\n", "--session", "trip")
    assert "passages that have changed or gone since: 1\n" in done.stderr
    assert "no passage stood before the model" not in done.stderr


def test_no_log_with_a_session_only_reads_it(stub: StubChat) -> None:
    piped("one\n", "--session", "trip")
    file = Path(".rag/sessions/trip.jsonl")
    before = file.read_bytes()
    done = piped("two\n", "--session", "trip", "--no-log")
    assert "only read" in done.stderr
    assert questions_of(stub.asked_with[-1]) == ["one"]
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_a_torn_line_is_told_and_dropped(stub: StubChat) -> None:
    piped("one\ntwo\n", "--session", "trip")
    file = Path(".rag/sessions/trip.jsonl")
    file.write_bytes(file.read_bytes()[:-9])
    assert "its last line was cut off" in piped("three\n", "--session", "trip").stderr
    assert [logged.turn.question for logged in load(file.parent, "trip").turns] == ["one", "three"]


def test_bytes_that_are_no_text_are_a_question_all_the_same(stub: StubChat) -> None:
    done = piped(b"caf\xe9?\n")
    assert done.exit_code == 0
    assert "You asked caf\N{REPLACEMENT CHARACTER}?." in done.stdout


class Screen(pyte.Screen):
    """A terminal that also answers where its cursor is, which the editor asks."""

    child: pexpect.spawn

    def write_process_input(self, data: str) -> None:
        self.child.send(data)


class Terminal:
    """`rag chat` on a pseudo-terminal, and what a person would see of it."""

    def __init__(self, folder: Path, *options: str) -> None:
        command = ["-c", "from rag.cli.main import main; main()", "chat", "--index", "ix", *options]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("RAG_")}
        self.screen = Screen(110, 200)
        self._stream = pyte.Stream(self.screen)
        self.screen.child = pexpect.spawn(
            sys.executable,
            command,
            cwd=str(folder),
            env=clean | {"TERM": "xterm", "PYTHONPATH": str(Path(__file__).parent.parent)},
            dimensions=(200, 110),
            encoding="utf-8",
            timeout=300,
        )

    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    def line(self) -> str:
        """The line that the cursor is on."""
        return str(self.screen.display[self.screen.cursor.y]).rstrip()

    def until(self, seen: str) -> None:
        """Wait for the cursor's line to be this."""
        while self.line() != seen:
            self._more()

    def until_text(self, seen: str, times: int = 1) -> None:
        while self.text().count(seen) < times:
            self._more()

    def _more(self) -> None:
        try:
            self.screen.child.expect(".+")
        except (pexpect.EOF, pexpect.TIMEOUT) as error:
            raise AssertionError(f"the terminal shows\n{self.text()}") from error
        self._stream.feed(self.screen.child.after)

    def keys(self, keys: str) -> None:
        self.screen.child.send(keys)

    def enter(self, line: str) -> None:
        """Type a line, and wait until there is a prompt again."""
        self.start(line)
        self.until(">")

    def start(self, line: str) -> None:
        self.keys(line)
        self.until(f"> {line}")
        self.keys("\r")
        while self.line() == f"> {line}":
            self._more()

    def ended(self) -> int:
        self.screen.child.expect(pexpect.EOF)
        self._stream.feed(self.screen.child.before)
        self.screen.child.close()
        return int(self.screen.child.exitstatus)


@pytest.fixture(scope="module")
def home(ferry_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the ferry documents in `ix`, embedded by the packaged MiniLM."""
    folder = tmp_path_factory.mktemp("home")
    embedder = open_embedder()
    with open_index(str(folder / "ix"), embedder, create=True) as index:
        ingest([ferry_folder], index, embedder, workers=1)
    return folder


def test_a_conversation_on_a_real_terminal_and_its_resumption(home: Path) -> None:
    terminal = Terminal(home, "--keep-state")
    terminal.until(">")
    assert "(--no-log keeps none)" in terminal.text()
    terminal.enter("Who is the chief engineer?")
    assert "Marit Solheim" in terminal.text()
    terminal.enter("/why")
    assert "tokens  kept" in terminal.text()
    terminal.keys("/so\t")
    terminal.until("> /sources")
    terminal.keys("\r")
    terminal.until(">")
    assert "She joined the company in 2004." in terminal.text()

    # Arrow-up passes over the commands.
    terminal.keys("\x1b[A")
    terminal.until("> Who is the chief engineer?")
    terminal.keys("\x03")
    terminal.until(">")
    terminal.start("Tell me about the boats, and about dogs and cats on board.")
    terminal.until_text("reading ")  # or, a little later, "reading N more tokens"
    terminal.keys("\x03")  # while the model reads or writes
    terminal.until_text("stopped; the question")
    terminal.until(">")
    terminal.enter("How many passengers does the MV Pip carry?")
    assert "60 passengers" in terminal.text()

    terminal.enter("/save trip")
    assert "kept as trip in .rag/sessions" in terminal.text()
    terminal.start("/quit")
    assert terminal.ended() == 0
    assert "kept what the model has read: " in terminal.text()
    state, file = sorted((home / ".rag" / "sessions").iterdir())
    assert file.name == "trip.jsonl"
    assert re.fullmatch(r"trip\.[0-9a-f]{16}\.state", state.name)
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    session = load(file.parent, "trip")
    assert [logged.turn.question for logged in session.turns] == [
        "Who is the chief engineer?",
        "How many passengers does the MV Pip carry?",
    ]
    assert "Marit Solheim" in session.turns[0].turn.passages[0].text

    again = Terminal(home, "--session", "trip")
    again.until(">")
    assert "Session trip: 2 turns" in again.text()
    assert "changed or gone" not in again.text()
    assert "tokens need not be read again" in again.text()
    again.keys("\x1b[A\x1b[A")
    again.until("> Who is the chief engineer?")
    again.keys("\x03")
    again.until(">")
    # The very first question can be stopped too: nothing is half loaded then.
    again.start("Tell me about the boats, and about dogs and cats on board.")
    again.until_text("reading ")  # or, a little later, "reading N more tokens"
    again.keys("\x03")
    again.until_text("stopped; the question")
    again.until(">")
    again.enter("Do dogs travel free?")
    assert "Sources" in again.text()
    assert len(load(file.parent, "trip").turns) == 3
    again.keys("\x03")
    again.until_text("Ctrl-C again or Ctrl-D ends the chat")
    again.until(">")
    again.keys("\x03")
    assert again.ended() == 130
