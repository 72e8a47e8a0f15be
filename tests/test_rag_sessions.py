"""Conversations on disk: what is kept comes back, whatever was in it and wherever the program was killed."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import FERRY, Rag
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.edge_index import EdgeIndex
from rag.cli.chat import current_text
from rag.errors import SessionError
from rag.session_log import SessionLog
from rag.sessions import delete, list_sessions, load, session_file, without_changed
from rag.types import Answer, Citation, Conversation, Passage, Timings, Turn, Usage

HOSTILE = st.text(st.characters(), max_size=20) | st.sampled_from(
    ["\ud800", "\udcff after", "a\nb\r\n\u2028\u2029\x85\x0b", "\x1b[2J\x9b31m", '"}\n{"kind": "new"}', "\\u2028", "\0"]
)


def whole(text: str) -> str:
    """Two halves of a character that stand side by side come back as the character."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


TEXTS = HOSTILE.map(whole)
NUMBERS = st.integers(0, 10**9)
PASSAGES = st.builds(
    Passage,
    number=NUMBERS,
    text=TEXTS,
    source=TEXTS,
    start=NUMBERS,
    end=NUMBERS,
    pages=st.lists(NUMBERS, max_size=2).map(tuple),
    headings=st.lists(TEXTS, max_size=2).map(tuple),
    score=st.floats(allow_nan=False, allow_infinity=False),
)
CITATIONS = st.builds(
    Citation,
    number=NUMBERS,
    source=TEXTS,
    start=NUMBERS,
    end=NUMBERS,
    quote=TEXTS,
    pages=st.lists(NUMBERS, max_size=2).map(tuple),
    status=st.sampled_from(["verified", "misattributed"]),
)
TURNS = st.builds(
    Turn, question=TEXTS, standalone=TEXTS, answer=TEXTS, passages=st.lists(PASSAGES, max_size=2).map(tuple)
)


def answer_in(
    conversation: Conversation, turn: Turn, why: str = "", citations: tuple[Citation, ...] = (), refused: bool = False
) -> Answer:
    """What a chat returns for a turn."""
    return Answer(
        question=turn.question,
        standalone=turn.standalone,
        text=turn.answer,
        refused=refused,
        why=why,
        citations=citations,
        passages=turn.passages,
        usage=Usage(prompt_tokens=3),
        timings=Timings(),
        stop="end",
        prompt=None,
        conversation=replace(conversation, turns=(*conversation.turns, turn)),
    )


def said(log: SessionLog, question: str, *passages: Passage) -> None:
    turn = Turn(question=question, standalone=question, answer=f"Answer to {question}", passages=passages)
    log.add(answer_in(log.conversation, turn))


def a_session(folder: Path, name: str = "trip", questions: tuple[str, ...] = ("one", "two", "three")) -> Path:
    with SessionLog(folder) as log:
        log.index, log.model = "ix", "tiny"
        log.begin(name)
        for question in questions:
            said(log, question)
    return folder / f"{name}.jsonl"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(TURNS, TEXTS, st.lists(CITATIONS, max_size=2).map(tuple), st.none() | TEXTS), max_size=5))
def test_what_is_kept_comes_back(told: list[tuple[Turn, str, tuple[Citation, ...], str | None]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "sessions"
        with SessionLog(folder) as log:
            log.begin("trip")
            for turn, why, citations, summary in told:
                answer = answer_in(log.conversation, turn, why, citations)
                if summary is not None:
                    folded = replace(answer.conversation, summary=summary, folded=len(answer.conversation.turns) - 1)
                    answer = replace(answer, conversation=folded)
                log.add(answer)
            expected, turns = log.conversation, tuple(log.turns)
        if not told:
            assert list(folder.iterdir()) == []
            return
        found = load(folder, "trip")
        assert found.conversation == expected
        assert found.turns == turns
        assert found.torn == 0
        with SessionLog(folder) as again:
            assert again.resume("trip") == found
            assert again.conversation == expected


def test_a_file_cut_at_any_byte_keeps_every_whole_turn(tmp_path: Path) -> None:
    data = a_session(tmp_path, questions=("ä\u2028\ud800 one", "two")).read_bytes()
    ends = [place for place, byte in enumerate(data) if byte == ord("\n")]
    for cut in range(len(data)):
        folder = tmp_path / "cut"
        folder.mkdir(exist_ok=True)
        file = folder / "trip.jsonl"
        file.write_bytes(data[:cut])
        complete = sum(end <= cut for end in ends)
        found = load(folder, "trip")
        assert len(found.turns) == max(0, complete - 1)
        before = max((end + 1 for end in ends if end + 1 <= cut), default=0)
        assert found.torn == (0 if cut in {*ends, before} else cut - before)
        with SessionLog(folder) as log:
            log.resume("trip")
            said(log, "more")
        mended = load(folder, "trip")
        assert (len(mended.turns), mended.torn) == (len(found.turns) + 1, 0)
        assert mended.turns[-1].turn.question == "more"


def test_only_its_owner_can_read_the_file_and_it_reads_as_text(tmp_path: Path) -> None:
    file = a_session(tmp_path / "deep" / "sessions", questions=("Wie groß ist die Fähre?\x1b[2J\x9b",))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    text = file.read_text(encoding="utf-8")
    assert "Wie groß ist die Fähre?" in text
    assert all(character.isprintable() or character == "\n" for character in text)
    head, turn = map(json.loads, text.splitlines())
    assert (head["kind"], head["format"], head["index"], head["model"]) == ("session", 1, "ix", "tiny")
    assert {"time", "question", "standalone", "answer", "why", "citations", "passages", "usage"} <= set(turn)


def test_new_begins_another_conversation_in_the_same_file(tmp_path: Path) -> None:
    with SessionLog(tmp_path) as log:
        log.begin("trip")
        log.new()
        said(log, "one")
        log.new()
        log.new()
        assert log.conversation == Conversation()
        said(log, "two")
    found = load(tmp_path, "trip")
    assert [logged.turn.question for logged in found.turns] == ["one", "two"]
    assert found.starts == (0, 1)
    assert [turn.question for turn in found.conversation.turns] == ["two"]


def test_a_new_name_takes_the_file_along_and_never_another_ones(tmp_path: Path) -> None:
    other = a_session(tmp_path, "other").read_bytes()
    with SessionLog(tmp_path) as log:
        log.begin_by_time()
        said(log, "one")
        first = log.name
        with pytest.raises(SessionError, match="there is a session 'other' already"):
            log.save("other")
        assert log.name == first
        log.save("mine")
        log.save("mine")
        said(log, "two")
        with pytest.raises(SessionError, match="in use by another process"):
            delete(tmp_path, "mine")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["mine.jsonl", "other.jsonl"]
    assert (tmp_path / "other.jsonl").read_bytes() == other
    assert len(load(tmp_path, "mine").turns) == 2


def test_what_models_had_read_goes_with_the_session(tmp_path: Path) -> None:
    a_session(tmp_path)
    others = {f"{name}.0123456789abcdef.state" for name in ("trip.b", "trip2", "strip")} | {"trip.notes.state"}
    for name in others | {"trip.0123456789abcdef.state", "trip.0123456789abcdef.state.new"}:
        (tmp_path / name).touch()
    with SessionLog(tmp_path) as log:
        log.resume("trip")
        log.save("mine")
    assert {file.name for file in tmp_path.iterdir()} == others | {"mine.jsonl"}
    (tmp_path / "mine.0123456789abcdef.state").touch()
    delete(tmp_path, "mine.jsonl")
    assert {file.name for file in tmp_path.iterdir()} == others


def test_what_is_only_remembered_touches_no_disk_until_it_is_saved(tmp_path: Path) -> None:
    folder = tmp_path / "sessions"
    with SessionLog(folder) as log:
        said(log, "forgotten")
        log.new()
        said(log, "one")
        said(log, "two")
        assert not folder.exists()
        log.save("late")
        said(log, "three")
    assert [logged.turn.question for logged in load(folder, "late").turns] == ["one", "two", "three"]


def test_a_session_that_is_only_read_stays_as_it_is_and_can_be_saved_as_another(tmp_path: Path) -> None:
    file = a_session(tmp_path)
    before = file.read_bytes()
    with SessionLog(tmp_path) as log:
        assert log.resume("trip", keep=False) is not None
        said(log, "four")
        log.save("copy")
    assert file.read_bytes() == before
    assert len(load(tmp_path, "copy").turns) == 4
    with SessionLog(tmp_path) as log, pytest.raises(SessionError, match="no session 'none'"):
        log.resume("none", keep=False)


def test_two_chats_cannot_have_one_session(tmp_path: Path) -> None:
    a_session(tmp_path)
    with SessionLog(tmp_path) as first, SessionLog(tmp_path) as second:
        first.resume("trip")
        with pytest.raises(SessionError, match=rf"session 'trip' is in use by another process \(pid {os.getpid()}\)"):
            second.resume("trip")
        second.begin_by_time()
        with SessionLog(tmp_path) as third:
            third.begin_by_time()
            assert third.name != second.name


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "../x", "a b", "-x", "a\n", "x" * 201, "\ud800", "a\0"])
def test_a_name_that_is_none_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(SessionError, match="cannot name a session: use up to 200 letters"):
        session_file(tmp_path, name)


def test_a_name_may_have_letters_of_any_language(tmp_path: Path) -> None:
    assert session_file(tmp_path, "Fähre_2.b-c.jsonl") == tmp_path / "Fähre_2.b-c.jsonl"
    assert session_file(tmp_path, "Fa\N{COMBINING DIAERESIS}hre").name == "Fähre.jsonl"


def turn_with(**changed: object) -> str:
    row = {"kind": "turn", "time": "", "question": "q", "standalone": "q", "answer": "a", "refused": False, "why": ""}
    return json.dumps(row | {"citations": [], "passages": [], "usage": {}} | changed)


@pytest.mark.parametrize(
    ("line", "said_of_it"),
    [
        ("hello", "Expecting value"),
        ("[1]", "no JSON object"),
        ("{}", "unknown kind None"),
        ('{"kind": "session", "format": 1}', "a second first line"),
        ('{"kind": "summary", "summary": "x", "folded": 9}', "9 turns are summarised, but there are 3"),
        ('{"kind": "summary", "summary": "x", "folded": true}', "folded is of the wrong type"),
        (turn_with(question=3), "question is of the wrong type"),
        (turn_with(passages=[{"number": 1}]), "'text' is missing"),
        (turn_with(citations=["x"]), "citation is no object"),
        (turn_with(usage={"prompt_tokens": "many"}), "prompt_tokens is of the wrong type"),
        ("[" * 100_000, "recursion"),
        ('{"kind": "turn"}', "'time' is missing"),
    ],
)
def test_damage_is_named_by_file_and_line(line: str, said_of_it: str, tmp_path: Path) -> None:
    file = a_session(tmp_path)
    file.write_text(file.read_text() + line + "\n" + turn_with() + "\n")
    with pytest.raises(SessionError) as raised:
        load(tmp_path, "trip")
    assert f"{file}, line 5 is damaged" in str(raised.value)
    assert said_of_it in str(raised.value)
    assert "'rag sessions delete trip'" in str(raised.value)


@pytest.mark.parametrize("data", [b"just notes", b"notes\n", b'{"kind": "session", "format": 2}\n', b"\xff\xfe\n"])
def test_a_file_that_is_no_session_is_left_alone(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "trip.jsonl").write_bytes(data)
    with SessionLog(tmp_path) as log, pytest.raises(SessionError, match="line 1 is damaged"):
        log.resume("trip")
    assert (tmp_path / "trip.jsonl").read_bytes() == data
    assert [file.name for file in tmp_path.iterdir()] == ["trip.jsonl"]


def test_lines_that_people_add_or_leave_empty_do_no_harm(tmp_path: Path) -> None:
    file = a_session(tmp_path)
    head, *turns = file.read_text().splitlines()
    file.write_text("\n\n".join([head, *(json.dumps(json.loads(turn) | {"note": "good"}) for turn in turns)]))
    assert len(load(tmp_path, "trip").turns) == 3


class FullDisk:
    """os.write of a disk on which only some more bytes fit."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.write = os.write

    def __call__(self, handle: int, data: bytes) -> int:
        if not self.room:
            raise OSError(28, "No space left on device")
        done = self.write(handle, data[: self.room])
        self.room -= done
        return done


def test_a_full_disk_costs_no_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with SessionLog(tmp_path) as log:
        log.begin("trip")
        said(log, "one")
        before = (tmp_path / "trip.jsonl").read_bytes()
        with monkeypatch.context() as patched:
            patched.setattr(os, "write", FullDisk(40))
            with pytest.raises(SessionError, match="No space left on device"):
                said(log, "two")
        assert (tmp_path / "trip.jsonl").read_bytes() == before
        said(log, "three")
    assert [logged.turn.question for logged in load(tmp_path, "trip").turns] == ["one", "two", "three"]


def test_a_file_that_was_deleted_meanwhile_is_told_and_can_be_kept_again(tmp_path: Path) -> None:
    with SessionLog(tmp_path) as log:
        log.begin("trip")
        said(log, "one")
        (tmp_path / "trip.jsonl").unlink()
        with pytest.raises(SessionError, match="was deleted while it was in use"):
            said(log, "two")
        assert not (tmp_path / "trip.jsonl").exists()
        log.save("trip")
    assert len(load(tmp_path, "trip").turns) == 2


def test_a_folder_that_cannot_be_one_is_an_error_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with SessionLog(tmp_path / "file") as log, pytest.raises(SessionError, match="--no-log"):
        log.begin_by_time()


def test_a_process_killed_after_a_turn_has_kept_it(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path; sys.path.insert(0, 'tests')\n"
        "from test_rag_sessions import SessionLog, said\n"
        "log = SessionLog(Path(sys.argv[1])); log.begin('trip'); said(log, 'one'); said(log, 'two')\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    root = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=root, timeout=600)
    assert done.returncode == -signal.SIGKILL
    assert len(load(tmp_path, "trip").turns) == 2
    with SessionLog(tmp_path) as log:
        assert log.resume("trip") is not None


def passage(source: str, start: int, text: str) -> Passage:
    return Passage(
        number=2, text=text, source=source, start=start, end=start + len(text), pages=(), headings=(), score=0.5
    )


def test_passages_that_changed_are_dropped_and_counted_once(tmp_path: Path) -> None:
    same, changed, gone = passage("a", 0, "same"), passage("a", 9, "old"), passage("b", 0, "gone")
    turn = Turn(question="q", standalone="q", answer="a [2]", passages=(same, changed, gone))
    conversation = Conversation(turns=(turn, turn), summary="s", folded=1)
    texts: dict[tuple[str, int, int], str] = {("a", 0, 4): "same", ("a", 9, 12): "new"}
    kept, dropped = without_changed(conversation, lambda *place: texts.get(place))
    assert dropped == 2
    assert [turn.passages for turn in kept.turns] == [(same,), (same,)]
    assert (kept.summary, kept.folded, kept.turns[0].answer) == ("s", 1, "a [2]")


def test_the_index_says_what_its_documents_hold_today(ferry_index: EdgeIndex, tmp_path: Path) -> None:
    texts = {item.source: ferry_index.catalogue.text(item.document_id) for item in ferry_index.documents()}
    start = texts["crew.md"].index("Marit")
    with SessionLog(tmp_path / "sessions") as log:
        log.begin("trip")
        held = passage("crew.md", start, "Marit Solheim")
        said(log, "who", held, passage("crew.md", start + 1, "Marit Solheim"), passage("ew.md", start, "Marit Solheim"))
        assert log.drop_changed(current_text(ferry_index)) == 2
        assert log.conversation.turns[0].passages == (held,)
        ferry_index.remove(["crew.md"])
        assert log.drop_changed(current_text(ferry_index)) == 1
    assert len(load(tmp_path / "sessions", "trip").conversation.turns[0].passages) == 3
    assert FERRY["crew.md"].count("Marit") == 1


def test_sessions_are_listed_shown_and_deleted(rag: Rag, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    a_session(folder, "trip", ("Wer fährt?\x1b[2J", "two"))
    with SessionLog(folder) as log:
        log.resume("trip")
        log.new()
        said(log, "three")
    a_session(folder, "other")
    (folder / "broken.jsonl").write_text("{}\n")
    at = ("--sessions", str(folder))
    listed = json.loads(rag("sessions", "list", "--json", *at).stdout)
    assert {row["name"]: row["turns"] for row in listed["sessions"]} == {"trip": 3, "other": 3}
    assert {"name", "turns", "started", "last_used", "first_question"} == set(listed["sessions"][0])
    assert "line 1 is damaged" in listed["damaged"][0]
    shown = rag("sessions", "show", "trip", *at)
    assert "> Wer fährt?\N{REPLACEMENT CHARACTER}[2J\n\nAnswer to" in shown.stdout
    assert shown.stdout.count("--- /new ---") == 1
    told = json.loads(rag("sessions", "show", "trip", "--json", *at).stdout)
    assert [turn["conversation"] for turn in told["turns"]] == [1, 1, 2]
    refused = rag("sessions", "delete", "trip", *at)
    assert (refused.returncode, "add --yes" in refused.stderr) == (2, True)
    assert rag("sessions", "delete", "trip", "none", "--yes", *at).returncode == 2
    assert (folder / "trip.jsonl").exists()
    done = rag("sessions", "delete", "trip", "broken", "--yes", "--json", *at)
    assert (done.returncode, json.loads(done.stdout)) == (0, {"deleted": ["trip", "broken"]})
    assert [file.name for file in folder.iterdir()] == ["other.jsonl"]


def test_a_folder_without_sessions_is_an_empty_list(tmp_path: Path) -> None:
    assert list_sessions(tmp_path / "nowhere") == []
