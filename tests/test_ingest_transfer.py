"""Files of ``rag docs export``: whole or refused, and nothing of a bad one is written."""

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from ingest_support import light_parse_files, state, write_files

from ingest import pipeline
from ingest.edge_index import EdgeIndex
from ingest.embed import HashEmbedder
from ingest.errors import IndexDamagedError, IndexMismatchError, TransferError
from ingest.fields import parse_meta
from ingest.transfer import Exported, Imported, check_export, export_index, import_index
from ingest.transfer_file import read_documents

EMBEDDER = HashEmbedder(16)
DOCS = {"a.md": "# A\nThe boat carries 60 passengers.", "b.md": "Dogs travel free.", "c/b.md": "Dogs travel free."}


@pytest.fixture(autouse=True, scope="module")
def _light() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pipeline, "parse_files", light_parse_files)
        yield


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    return write_files(tmp_path / "docs", dict(DOCS))


def filled(docs: Path, folder: Path) -> EdgeIndex:
    index = EdgeIndex(folder, EMBEDDER, create=True)
    pipeline.ingest([docs], index, EMBEDDER)
    index.catalogue.give(["b.md"], parse_meta(["team=Sea"]))
    return index


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("made")
    with filled(write_files(folder / "docs", dict(DOCS)), folder / "index") as index:
        export_index(index, folder / "index.gz")
    return (folder / "index.gz").read_bytes()


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeIndex]:
    """An index that must stay so."""
    with EdgeIndex(tmp_path_factory.mktemp("empty") / "index", EMBEDDER, create=True) as index:
        yield index


@pytest.fixture
def exported(made: bytes, tmp_path: Path) -> Path:
    (tmp_path / "index.gz").write_bytes(made)
    return tmp_path / "index.gz"


def refuses(index: EdgeIndex, file: Path, told: str | None) -> None:
    with pytest.raises((TransferError, IndexMismatchError), match=told) as error:
        import_index(file, index, EMBEDDER)
    assert str(file) in str(error.value)
    assert index.documents() == []
    assert index.store.count() == 0


def lines_of(file: Path) -> list[Any]:
    return [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]


def rewritten(file: Path, lines: list[Any]) -> Path:
    file.write_bytes(gzip.compress(b"\n".join(json.dumps(line).encode() for line in lines) + b"\n"))
    return file


def test_counts_and_progress(docs: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    with filled(docs, tmp_path / "first") as index:
        done = export_index(index, tmp_path / "x.gz", lambda *at: told.append(at))
    assert done == Exported(documents=2, sources=3, chunks=2, bytes=(tmp_path / "x.gz").stat().st_size)
    assert told == [(1, 2, "a.md"), (2, 2, "b.md")]
    told.clear()
    with EdgeIndex(tmp_path / "second", EMBEDDER, create=True) as index:
        moved = import_index(tmp_path / "x.gz", index, EMBEDDER, lambda *at: told.append(at))
        assert moved == Imported(documents=2, held=0, sources=3, chunks=2)
        assert index.catalogue.given_fields() == {"b.md": {"team": ("Sea",)}}
    assert [number for number, *_ in told] == [1, 2]


def test_the_same_index_gives_the_same_file(docs: Path, tmp_path: Path) -> None:
    with filled(docs, tmp_path / "first") as index:
        for name in ("one", "two"):
            export_index(index, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_file_is_never_overwritten_nor_left_half(docs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").write_text("mine")
    with filled(docs, tmp_path / "first") as index:
        with pytest.raises(TransferError, match="mine exists"):
            export_index(index, tmp_path / "mine")
        with pytest.raises(TransferError, match="cannot be written"):
            export_index(index, tmp_path / "nowhere" / "x.gz")
        monkeypatch.setattr("ingest.transfer.document_line", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            export_index(index, tmp_path / "x.gz")
    assert (tmp_path / "mine").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"docs", "first", "mine"}


def test_what_is_damaged_is_not_exported(docs: Path, tmp_path: Path) -> None:
    with filled(docs, tmp_path / "first") as index:
        index.catalogue._db.execute("UPDATE chunks SET codes=x'00'")
        with pytest.raises(IndexDamagedError, match=r"a\.md cannot be exported .*docs verify"):
            export_index(index, tmp_path / "x.gz")
    assert not (tmp_path / "x.gz").exists()


def test_it_joins_what_is_there_and_replaces_what_is_older(docs: Path, tmp_path: Path) -> None:
    exported = tmp_path / "index.gz"
    with filled(docs, tmp_path / "first") as index:
        export_index(index, exported)
    with EdgeIndex(tmp_path / "second", EMBEDDER, create=True) as index:
        write_files(docs, {"a.md": "Another version.", "z.md": "Only here."})
        pipeline.ingest([docs], index, EMBEDDER)
        moved = import_index(exported, index, EMBEDDER)
        assert (moved.documents, moved.held) == (1, 1)
        assert index.text(index.catalogue.find("a.md").document_id).startswith("A\n")
        assert [document.source for document in index.documents()] == ["a.md", "b.md", "c/b.md", "z.md"]
        state(index)


def _edit(change: Callable[[dict[str, Any]], object]) -> Callable[[list[Any]], object]:
    return lambda lines: change(lines[1])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda lines: lines.pop(), "ends after 2 lines and is cut off"),
        (lambda lines: lines.pop(1), "holds 1 of 2 documents"),
        (lambda lines: lines.append(lines[1]), "goes on after its end"),
        (lambda lines: lines[-1].update(end=3), "holds 2 of 3 documents"),
        (lambda lines: (lines.insert(1, lines[1]), lines[-1].update(end=3)), "twice"),
        (lambda lines: lines[0].update(format="other"), "no file of 'rag docs export'"),
        (lambda lines: lines[0].update(version=9), "of version 9, not 2"),
        (lambda lines: lines.insert(1, [1]), "damaged or cut off after line 1"),
        (_edit(lambda line: line.pop("text")), "line 2 .* cannot be read"),
        (_edit(lambda line: line.update(id="../x")), "line 2 .* cannot be read"),
        (_edit(lambda line: line.update(sources=[])), "without a source"),
        (_edit(lambda line: line["sources"][0].update(source="")), "no path"),
        (_edit(lambda line: line["sources"][0].update(size="x")), "line 2 .* cannot be read"),
        (_edit(lambda line: line["sources"][0].update(given={"team": [7]})), "7 is no text"),
        (_edit(lambda line: line.update(boilerplate=[7])), "7 is no text"),
        (_edit(lambda line: line.pop("warnings")), "line 2 .* cannot be read"),
        (_edit(lambda line: line["chunks"][0].__setitem__(2, 10**6)), "outside the text"),
        (_edit(lambda line: line["chunks"][0].__setitem__(5, "AAAA")), "half a token code"),
        (_edit(lambda line: line["chunks"][0].__setitem__(5, "no base64!")), "line 2 .* cannot be read"),
        (_edit(lambda line: line["chunks"].append(line["chunks"][0])), "one id"),
        (_edit(lambda line: line.update(vectors="AAAA")), "line 2 .* cannot be read"),
        (_edit(lambda line: line.update(vectors="A" * 84 + "AA==")), "unit length"),
        (_edit(lambda line: line.update(vectors="AADAfw" * 14 + "AA==")), "line 2 .* cannot be read"),
    ],
)
def test_a_bad_file_changes_nothing(exported: Path, empty: EdgeIndex, change: Any, told: str) -> None:
    lines = lines_of(exported)
    change(lines)
    refuses(empty, rewritten(exported, lines), told)


@pytest.mark.parametrize("cut", [0, 1, 30, 200, -1, -9])
def test_a_file_that_is_cut_off(exported: Path, empty: EdgeIndex, cut: int) -> None:
    exported.write_bytes(exported.read_bytes()[:cut])
    refuses(empty, exported, r"no file of|cut off")


@given(place=st.floats(0, 0.999), bit=st.integers(0, 7))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_flipped_bit_is_noticed(made: bytes, tmp_path: Path, empty: EdgeIndex, place: float, bit: int) -> None:
    """Wherever it is, behind the ten bytes of gzip's header, of which a reader has no use for some; unless the file
    still says the same, because a repetition can be written with the one distance or the other."""
    data = bytearray(made)
    data[10 + int(place * (len(data) - 10))] ^= 1 << bit
    with suppress(EOFError, zlib.error, gzip.BadGzipFile):
        assume(gzip.decompress(bytes(data)) != gzip.decompress(made))
    (tmp_path / "flipped.gz").write_bytes(bytes(data))
    refuses(empty, tmp_path / "flipped.gz", None)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\3\4zip", gzip.compress(b"no json\n"), gzip.compress(b"")])
def test_what_is_no_export(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    for file in (tmp_path / "x", tmp_path / "missing", tmp_path):
        with pytest.raises(TransferError, match=r"no file of|cannot be read"):
            check_export(file, EMBEDDER)


def test_a_line_without_end_is_refused(tmp_path: Path, exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.transfer_file.LONGEST_LINE", 300)
    with pytest.raises(TransferError, match=r"line 2 .* longer than any document's"):
        list(read_documents(exported, 16))


def test_another_embedder_or_folder(exported: Path, docs: Path, tmp_path: Path) -> None:
    with pytest.raises(IndexMismatchError, match="--embedder hash-16"):
        check_export(exported, HashEmbedder(32))
    other = write_files(tmp_path / "other", {"b.md": "Another b."})
    with EdgeIndex(tmp_path / "second", EMBEDDER, create=True) as index:
        pipeline.ingest([other], index, EMBEDDER)
        before = state(index)
        with pytest.raises(TransferError, match=r"b\.md from .*docs, the index one of that name from .*other"):
            import_index(exported, index, EMBEDDER)
        assert state(index) == before
