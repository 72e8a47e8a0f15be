"""Scanned pages: named without --ocr, read with it, each reading a document of its own; nothing flips back."""

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pikepdf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ingest_support import FILES, CountingEmbedder, document_of, need, state, write_files
from typer.testing import CliRunner

from ingest import ocr, pipeline, workers
from ingest.chunk import chunk_document
from ingest.edge_index import EdgeIndex
from ingest.embed import HashEmbedder
from ingest.errors import MissingPartError, ParseError
from ingest.parse import content_hash, document_id, parse_bytes
from ingest.pdf import NO_TEXT_LAYER
from ingest.plan import plan
from ingest.rows import UNREAD
from ingest.scan import SourceFile
from ingest.workers import ParsedFile, Unparsed
from rag.cli.main import app

SCAN = FILES / "scan.pdf"
TEXT = FILES / "watches.pdf"


def pdf_of(*pages: tuple[Path, int, int], blank: int = 0) -> bytes:
    """A PDF of pages of others: (file, number from 1, rotation in degrees), then blank ones."""
    out = io.BytesIO()
    with pikepdf.new() as made:
        for file, number, rotation in pages:
            with pikepdf.open(file) as pdf:
                made.pages.append(pdf.pages[number - 1])
            if rotation:
                made.pages[-1].rotate(rotation, relative=True)
        for _ in range(blank):
            made.add_blank_page()
        made.save(out, deterministic_id=True)
    return out.getvalue()


MIXED = pdf_of((TEXT, 1, 0), (SCAN, 1, 0), (TEXT, 2, 0), (SCAN, 1, 0), (SCAN, 1, 0), blank=1)


def test_a_scan_is_named_as_such() -> None:
    with pytest.raises(ParseError, match=r"^no text layer \(a scan\?\): ingest it with --ocr$"):
        parse_bytes(SCAN.read_bytes(), "a.pdf")


def test_pages_without_text_are_named_and_blank_ones_are_not() -> None:
    document = parse_bytes(MIXED, "a.pdf")
    assert {element.page for element in document.elements} == {1, 3}
    assert document.warnings[:1] == (f"pages 2, 4-5: {NO_TEXT_LAYER}",)
    assert document.id == document_id(content_hash(MIXED), "pdf", UNREAD)
    assert parse_bytes(pdf_of((TEXT, 1, 0), (SCAN, 1, 0)), "a.pdf").warnings[0].startswith("page 2: ")


def test_a_scan_is_read_with_its_headings_and_its_table() -> None:
    need("tesseract")
    data = SCAN.read_bytes()
    document = parse_bytes(data, "a.pdf", "eng")
    assert [(element.kind, element.text) for element in document.elements if element.kind != "text"][:4] == [
        ("title", "Lamp"),
        ("title", "Spare parts"),
        ("table", "Part | Number | Price\nBulb | KB-7 | 38 crowns\nFog horn | FH-12 | 640 crowns"),
        ("title", "Logbook"),
    ]
    for sentence in [
        "Lighthouse handbook",
        "The lamp of the Kestrel lighthouse burns from dusk to dawn.",
        "Switch off the mains.",
        "The logbook is kept for seven years.",
    ]:
        assert sentence in document.text
    assert {element.page for element in document.elements} == {1}
    assert all(document.text[element.start : element.end] == element.text for element in document.elements)
    assert document.warnings == ()
    assert document.id == document_id(content_hash(data), "pdf", "eng")


def test_only_pages_without_text_are_read_and_a_page_on_its_side_is_turned() -> None:
    need("tesseract")
    data = pdf_of((TEXT, 1, 0), (SCAN, 1, 90), (TEXT, 2, 0))
    without, document = parse_bytes(data, "a.pdf"), parse_bytes(data, "a.pdf", "eng")
    assert document.id != without.id
    assert [element.page for element in document.elements] == sorted(element.page or 0 for element in document.elements)
    for page, text in [(1, "Watch 1"), (2, "The logbook is kept for seven years."), (3, "Watch 2")]:
        assert any(text in element.text for element in document.elements if element.page == page)
    texts = [element.text for element in document.elements if element.page != 2]
    assert texts == [element.text for element in without.elements]


def stamped(text: str, times: int = 1) -> bytes:
    """The scan with lines of text over it, as programs put numbers on the pages of files."""
    out = io.BytesIO()
    with pikepdf.open(SCAN) as pdf:
        page = pdf.pages[0]
        font = pikepdf.Dictionary(Type=pikepdf.Name.Font, Subtype=pikepdf.Name.Type1, BaseFont=pikepdf.Name.Helvetica)
        page.add_resource(font, pikepdf.Name.Font, pikepdf.Name.F1)
        lines = "".join(f"({text}) Tj 0 14 Td " for _ in range(times))
        page.contents_add(f"q BT /F1 12 Tf 72 24 Td {lines} ET Q".encode())
        pdf.save(out, deterministic_id=True)
    return out.getvalue()


def test_a_scan_with_a_stamp_is_a_scan() -> None:
    document = parse_bytes(stamped("Exhibit 17"), "a.pdf")
    assert document.text == "Exhibit 17"
    assert document.warnings[0] == (
        "page 1: a picture with hardly any text (a scan with a stamp?): ingest it with --ocr"
    )
    assert parse_bytes(stamped("Much text is written over this picture.", 9), "a.pdf").warnings == ()
    need("tesseract")
    read = parse_bytes(stamped("Exhibit 17"), "a.pdf", "eng")
    assert "The logbook is kept for seven years." in read.text
    assert "Exhibit 17" in read.text
    assert read.warnings == ()
    assert read.id != document.id


@pytest.mark.parametrize("languages", ["eng", "eng+deu"])
def test_a_pdf_with_text_is_the_same_document_with_ocr(languages: str) -> None:
    data = TEXT.read_bytes()
    assert parse_bytes(data, "a.pdf", languages) == parse_bytes(data, "a.pdf")


def test_without_tesseract_a_run_ends_before_it_begins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    docs = write_files(tmp_path / "docs", {"a.md": "Text."})
    arguments = ["ingest", str(docs), "--index", str(tmp_path / "index")]
    done = CliRunner().invoke(app, [*arguments, "--ocr"])
    assert isinstance(done.exception, MissingPartError)
    assert str(done.exception).startswith("OCR needs tesseract (Debian: apt-get install tesseract-ocr)")
    assert not (tmp_path / "index").exists()
    assert CliRunner().invoke(app, [*arguments, "--ocr-language", "deu"]).exit_code == 2


def test_without_tesseract_a_file_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    embedder = HashEmbedder()
    policy = pipeline.ChunkPolicy(window=embedder.window)
    found = workers.parse_file(str(SCAN), "scan.pdf", embedder.counter, policy, "eng")
    assert found == Unparsed(reason=f"OCR needs {ocr.TESSERACT}: install it, or leave out --ocr", lasting=False)


# A program in the place of tesseract: what it writes is a table of words, and whatever can go wrong.
STAND_IN = """#!{python}
import os, sys, time
if sys.argv[1] == "--list-langs":
    print("List of available languages in /x (2):\\neng\\nscript/Latin")
    sys.exit({list_code})
out = sys.argv[2] + ".tsv"
assert os.environ["OMP_THREAD_LIMIT"] == "1"
assert set(os.environ) <= {{"PATH", "LANG", "HOME", "TMPDIR", "OMP_THREAD_LIMIT", "TESSDATA_PREFIX", "LC_CTYPE"}}
size = open(sys.argv[1], "rb").readline().split()
{body}
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def make(body: str, list_code: int = 0) -> None:
        import sys

        program = tmp_path / "bin" / "tesseract"
        program.parent.mkdir(exist_ok=True)
        program.write_text(STAND_IN.format(python=sys.executable, body=body, list_code=list_code))
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(program.parent))

    return make


HEADER = "level\tpage_num\tblock_num\tpar_num\tline_num\tword_num\tleft\ttop\twidth\theight\tconf\ttext"


def table(*words: tuple[int, int, int, int, str]) -> str:
    """tesseract's table of (paragraph, line, left, width, text), lines 40 pixels high and 50 apart."""
    rows = [
        f"5\t1\t1\t{p}\t{n}\t1\t{left}\t{200 + 50 * n}\t{width}\t40\t90\t{text}" for p, n, left, width, text in words
    ]
    return "\n".join([HEADER, "1\t1\t0\t0\t0\t0\t0\t0\t2000\t3000\t-1\t", *rows, "5\tcut off"])


def test_words_become_paragraphs_and_cells(stand_in: Callable[..., None]) -> None:
    words = table(
        (1, 1, 300, 100, "The"), (1, 1, 430, 100, "“lamp"), (1, 2, 300, 100, "burns.”"), (1, 2, 410, 5, " "),
        (2, 4, 300, 100, "Fog"), (2, 4, 420, 100, "horn"), (2, 4, 800, 100, "FH-12"), (2, 5, 300, 100, "Bulb"),
        (2, 5, 820, 100, "\N{LINE SEPARATOR}KB-7"),
    )  # fmt: skip
    stand_in(f"open(out, 'w', encoding='utf-8').write({words!r})")
    rows = [(element.kind, element.text) for element in parse_bytes(SCAN.read_bytes(), "a.pdf", "eng").elements]
    assert rows == [("title", "The “lamp burns.”"), ("table", "Fog horn | FH-12\nBulb | KB-7")]


@pytest.mark.parametrize("found", ["", "Exhibit I7 or so"])
def test_where_ocr_finds_hardly_more_the_text_layer_stays(stand_in: Callable[..., None], found: str) -> None:
    stand_in(f"open(out, 'w').write({table((1, 1, 300, 400, found))!r})")
    document = parse_bytes(stamped("Exhibit 17"), "a.pdf", "eng")
    assert (document.text, document.warnings) == ("Exhibit 17", ())
    assert document.id == document_id(document.content_hash, "pdf", "eng")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("sys.exit('no such thing')", r"tesseract cannot read it \(no such thing\)"),
        ("time.sleep(60)", "tesseract took longer than 1 s"),
        (f"open(out, 'w').write({HEADER!r})", "no text layer, and OCR found no text"),
    ],
)
def test_a_page_that_fails_costs_that_page(
    stand_in: Callable[..., None], monkeypatch: pytest.MonkeyPatch, body: str, reason: str
) -> None:
    monkeypatch.setattr(ocr, "PAGE_SECONDS", 1)
    stand_in(body)
    with pytest.raises(ParseError, match=f"^{reason}"):
        parse_bytes(SCAN.read_bytes(), "a.pdf", "eng")
    document = parse_bytes(pdf_of((TEXT, 1, 0), (SCAN, 1, 0)), "a.pdf", "eng")
    assert {element.page for element in document.elements} == {1}
    (warning,) = document.warnings
    assert warning.startswith("page 2: ")


def test_a_page_of_any_size_is_drawn_within_the_limit(
    stand_in: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ocr, "MAX_PIXELS", 10_000)
    words = table((1, 1, 1, 9, "SIZE"))
    stand_in(f"open(out, 'w').write({words!r}.replace('SIZE', '%s x %s' % tuple(map(int, size[1:3]))))")
    for box in ([0, 0, 14400, 14400], [0, 0, 3, 14400], [0, 0, 3, 3]):
        with pikepdf.open(SCAN) as pdf:
            pdf.pages[0].MediaBox = box
            out = io.BytesIO()
            pdf.save(out)
        width, height = map(int, parse_bytes(out.getvalue(), "a.pdf", "eng").text.split(" x "))
        assert 0 < width * height <= 10_000 + width + height + 1, "each side is rounded up"


@pytest.mark.parametrize(("languages", "missing"), [("deu", "deu"), ("eng+../x", "../x"), ("eng+", ""), ("", "")])
def test_languages_that_are_not_there(stand_in: Callable[..., None], languages: str, missing: str) -> None:
    stand_in("")
    with pytest.raises(MissingPartError, match=rf"no data for a language '{missing}'.*--ocr-language"):
        ocr.check_ocr(languages)
    ocr.check_ocr("eng+script/Latin")


def test_a_tesseract_that_does_not_run(stand_in: Callable[..., None]) -> None:
    stand_in("", list_code=1)
    with pytest.raises(MissingPartError, match="does not work"):
        ocr.check_ocr("eng")


def test_the_languages_of_the_real_one() -> None:
    need("tesseract")
    ocr.check_ocr("eng")
    with pytest.raises(MissingPartError, match="no data for a language 'xyz'"):
        ocr.check_ocr("eng+xyz")


# The runs, with a parser that takes the first word of a file for what a PDF may be.


def read(data: bytes, source: str, languages: str) -> ParsedFile | Unparsed:
    kind, _, text = data.decode().partition(" ")
    if kind == "SCAN" and not languages:
        return Unparsed(reason=NO_TEXT_LAYER, lasting=True)
    scans = "" if kind == "TEXT" else languages or UNREAD
    made = document_of([(f"{text} {scans}", "text", 0)], source)
    hash_ = content_hash(data)
    id_ = document_id(hash_, "pdf", scans)
    document = type(made)(id=id_, source=source, content_hash=hash_, elements=made.elements)
    embedder = HashEmbedder(16)
    policy = pipeline.ChunkPolicy(window=embedder.window)
    return ParsedFile(document=document, chunks=chunk_document(document, embedder.counter, policy), seconds=0.0)


class Runs:
    """A folder, its index, and what was parsed."""

    def __init__(self, folder: Path) -> None:
        self.docs, self.folder = folder / "docs", folder / "index"
        self.docs.mkdir(parents=True)
        self.parsed: list[str] = []
        self.failed: dict[str, str] = {}

    def parse(self, files: Any, *rest: Any) -> Iterator[Any]:
        for file in files:
            self.parsed.append(file.source)
            yield read(file.path.read_bytes(), file.source, rest[-1])

    def write(self, **files: str) -> None:
        for name, content in files.items():
            file = self.docs / f"{name}.pdf"
            file.write_text(content)
            os.utime(file, (1e9 + len(content), 1e9 + len(content)))

    def run(self, languages: str = "", **options: Any) -> dict[str, str]:
        """By source, the text that is served."""
        self.parsed, embedder = [], CountingEmbedder()
        with pytest.MonkeyPatch.context() as patch, EdgeIndex(self.folder, embedder, create=True) as index:
            patch.setattr(pipeline, "parse_files", self.parse)
            planned = plan([self.docs], index.catalogue, ocr=languages)
            report = pipeline.ingest([self.docs], index, embedder, prune=True, ocr=languages, **options)
            self.failed = {failure.source: failure.error for failure in report.failed}
            assert set(self.parsed) <= {*planned.added, *planned.updated}, "a dry run says so"
            state(index)
            return {found.source: index.text(found.document_id) for found in index.documents()}


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    found = Runs(tmp_path)
    found.write(text="TEXT one", scan="SCAN two", mixed="MIXED three")
    return found


def test_ocr_reads_what_was_refused_or_left_and_nothing_else(runs: Runs) -> None:
    assert runs.run() == {"text.pdf": "one ", "mixed.pdf": f"three {UNREAD}"}
    assert runs.failed == {"scan.pdf": NO_TEXT_LAYER}
    after = {"text.pdf": "one ", "scan.pdf": "two eng", "mixed.pdf": "three eng"}
    assert runs.run("eng") == after
    assert sorted(runs.parsed) == ["mixed.pdf", "scan.pdf"]
    assert runs.failed == {}
    for languages in ("eng", "", "eng"):
        assert runs.run(languages) == after
        assert runs.parsed == []


def test_another_language_is_another_reading(runs: Runs) -> None:
    runs.run("eng")
    assert runs.run("eng+deu")["scan.pdf"] == "two eng+deu"
    assert sorted(runs.parsed) == ["mixed.pdf", "scan.pdf"]


def test_without_ocr_its_text_stays_until_the_file_changes(runs: Runs) -> None:
    before = runs.run("eng")
    for name in ("scan", "mixed", "text"):
        os.utime(runs.docs / f"{name}.pdf")
    runs.write(copy="SCAN two")
    (runs.docs / "mixed.pdf").rename(runs.docs / "moved.pdf")
    after = runs.run()
    assert after == {
        **{name: text for name, text in before.items() if name != "mixed.pdf"},
        "copy.pdf": "two eng",
        "moved.pdf": "three eng",
    }
    assert runs.parsed == []
    runs.write(moved="MIXED of another day", scan="SCAN of another day")
    after = runs.run()
    assert after["moved.pdf"] == f"of another day {UNREAD}"
    assert after["scan.pdf"] == "two eng", "the old version is served"
    assert runs.failed == {"scan.pdf": NO_TEXT_LAYER}


def test_what_ocr_cannot_read_is_refused_and_not_tried_again(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = Unparsed(reason="it hangs", lasting=True)
    real = read
    monkeypatch.setitem(globals(), "read", lambda data, *rest: failing if b"three" in data else real(data, *rest))
    runs.write(mixed="MIXED 3")
    runs.run()
    monkeypatch.setitem(globals(), "read", lambda data, *rest: failing if b"3" in data else real(data, *rest))
    assert runs.run("eng")["mixed.pdf"] == f"3 {UNREAD}"
    assert runs.failed == {"mixed.pdf": "it hangs"}
    assert runs.run("eng")["mixed.pdf"] == f"3 {UNREAD}"
    assert runs.parsed == []
    assert runs.failed["mixed.pdf"].startswith("it hangs (not tried again")


def test_given_fields_move_with_a_file_that_is_renamed_and_read_in_one_run(runs: Runs) -> None:
    runs.run(fields={"by": ("Zoë",)})
    (runs.docs / "mixed.pdf").rename(runs.docs / "moved.pdf")
    runs.run("eng")
    with EdgeIndex(runs.folder, CountingEmbedder()) as index:
        assert index.catalogue.find("moved.pdf").fields == {"by": ("Zoë",)}


NAMES = st.sampled_from(["a", "b", "c"])
CONTENTS = st.sampled_from([f"{kind} {text}" for kind in ("TEXT", "SCAN", "MIXED") for text in ("one", "two")])
STEPS = st.lists(
    st.tuples(st.just("write"), NAMES, CONTENTS)
    | st.tuples(st.just("delete"), NAMES, st.just(""))
    | st.tuples(st.just("run"), st.sampled_from(["", "eng", "deu"]), st.just("")),
    min_size=2,
    max_size=5,
)


@settings(max_examples=5, deadline=None)
@given(STEPS)
def test_whatever_came_before_a_run_with_ocr_ends_as_a_clean_one(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("runs")
    runs, clean = Runs(folder), Runs(folder / "clean")
    runs.write(a="MIXED one", b="TEXT always")
    for what, name, content in steps:
        if what == "write":
            runs.write(**{name: content})
        elif what == "delete":
            (runs.docs / f"{name}.pdf").unlink(missing_ok=True)
        elif any(runs.docs.iterdir()):
            files = {file.name: file.read_text() for file in runs.docs.iterdir()}
            if set(files.values()) - {"SCAN one", "SCAN two"}:
                runs.run(name)
    runs.write(c="TEXT last")
    clean.docs = runs.docs
    after = runs.run("eng")
    assert (after, runs.failed) == (clean.run("eng"), {})
    assert runs.run("") == after, "no OCR text is thrown away"
    assert runs.parsed == []


@pytest.mark.parametrize(
    ("name", "languages", "seconds"),
    [
        ("a.PDF", "eng", workers.OCR_SECONDS),
        ("a.PDF", "", workers.PARSE_SECONDS),
        ("a.html", "eng", workers.PARSE_SECONDS),
    ],
)
def test_more_time_for_scans_only(name: str, languages: str, seconds: float) -> None:
    file = SourceFile(path=Path(name), root="/", source=name)
    assert workers.parse_seconds(file, languages) == seconds


def test_the_whole_of_it(tmp_path: Path) -> None:
    """With parser processes and tesseract: read, and kept."""
    need("tesseract")
    docs = write_files(tmp_path / "docs", {"scan.pdf": SCAN.read_bytes()})
    embedder = CountingEmbedder()
    with EdgeIndex(tmp_path / "index", embedder, create=True) as index:
        report = pipeline.ingest([docs], index, embedder, workers=1, ocr="eng")
        assert (report.added, report.failed) == (1, ())
        assert "The logbook is kept for seven years." in index.text(index.catalogue.find("scan.pdf").document_id)
        assert pipeline.ingest([docs], index, embedder, workers=1).unchanged == 1
