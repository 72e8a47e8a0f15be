"""Every visible character is in a chunk, or it is told; a file of which the text looks wrong is told too."""

import io
import re
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ingest_support import CORPUS, ROOT, corpus_document, document_of, parse_files_here, write_files
from pikepdf import Array, Dictionary, Name, Page, Pdf, Stream, String

from ingest import pipeline
from ingest.archives import ZIPPED
from ingest.chunk import ChunkPolicy, chunk_document
from ingest.coverage import covered, shortfall, visible
from ingest.document_index import EmbeddedDocument
from ingest.edge import Bm25
from ingest.edge_index import EdgeIndex
from ingest.embed import HashEmbedder
from ingest.facts import FileStamp, PendingDocument
from ingest.formats import FORMATS, Format
from ingest.held_text import held_text
from ingest.parse import parse_bytes
from ingest.pipeline import IngestReport, Warned, ingest
from ingest.suspicion import suspicions

EMBEDDER = HashEmbedder(16)
OWN = [file.relative_to(CORPUS).as_posix() for file in sorted(CORPUS.rglob("*.*"))]
CONVERTED = {".doc", ".ppt"}
MADE = [
    file
    for file in sorted((ROOT / "tests" / "files" / "formats").iterdir())
    if file.suffix in FORMATS.keys() - CONVERTED and file.stem != "scan"
]
"""By other programs; without those that LibreOffice has to convert, which takes seconds."""
PROSE = "The lighthouse keeper writes the log at six in the morning, and reads the barometer twice. " * 8
TEXTS = st.text(st.sampled_from("ab \n\u2003é船"), max_size=60)
SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda two: (min(two), max(two))), max_size=8)


@given(TEXTS, SPANS)
def test_what_is_covered_is_counted_once(text: str, spans: list[tuple[int, int]]) -> None:
    inside = {at for start, end in spans for at in range(start, min(end, len(text)))}
    assert covered(text, spans) == sum(not text[at].isspace() for at in inside)
    assert visible(text) == covered(text, [(0, len(text))])
    assert bool(shortfall(text, spans)) == any(not text[at].isspace() for at in {*range(len(text))} - inside)


def test_words_at_the_border_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.coverage._STEP", 4)
    assert visible("one three seventeen ") == 17


ELEMENTS = st.lists(
    st.tuples(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300).map(str.strip).filter(bool),
        st.sampled_from(["title", "text", "list", "table", "code"]),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(ELEMENTS, st.integers(8, 80))
def test_chunks_hold_all_of_any_document(parts: list[tuple[str, str, int]], window: int) -> None:
    document = document_of(parts)
    chunks = chunk_document(document, EMBEDDER.counter, ChunkPolicy(window=window, target=window))
    assert shortfall(document.text, ((chunk.start, chunk.end) for chunk in chunks)) == ""


def pending(text: str) -> tuple[PendingDocument, FileStamp]:
    """A document of several chunks."""
    document = document_of([(sentence, "text", 0) for sentence in text.split(". ")], "log.txt")
    chunks = chunk_document(document, EMBEDDER.counter, ChunkPolicy(window=EMBEDDER.window, target=20))
    dense = EMBEDDER.encode([chunk.text for chunk in chunks])
    item = PendingDocument(document=document, chunks=chunks, dense=dense, codes=(b"\1" * 32,) * len(chunks))
    return item, FileStamp(source="log.txt", root="/r", size=1, mtime_ns=2, seen_ns=3, document_id=document.id)


def written(item: PendingDocument, stamp: FileStamp, folder: Path) -> EdgeIndex:
    index = EdgeIndex(folder, EMBEDDER, create=True)
    sparse = tuple(Bm25().document(chunk.text) for chunk in item.chunks)
    index.write([EmbeddedDocument(pending=item, sparse=sparse, stamp=stamp)])
    return index


def test_a_text_without_a_chunk_is_told(tmp_path: Path) -> None:
    whole, stamp = pending(PROSE)
    *rest, last = whole.chunks
    assert rest
    part = replace(whole, chunks=tuple(rest), dense=whole.dense[:-1], codes=whole.codes[:-1])
    with written(part, stamp, tmp_path / "part") as index:
        (found,) = index.documents()
        missing = visible(last.text)
        assert found.coverage == pytest.approx(1 - missing / found.characters)
        assert index.catalogue.coverage() == pytest.approx(found.coverage)
        told = index.check(found)
        assert told.startswith(f"{missing} characters of its text are in no chunk")
        assert super(EdgeIndex, index).check(found) == told, "in whichever kind of index"


def test_chunks_that_overlap_hide_nothing(tmp_path: Path) -> None:
    """Twice the first half is not the whole."""
    whole, stamp = pending(PROSE)
    half = tuple(chunk for chunk in whole.chunks if chunk.end < len(whole.document.text) / 2)
    again = tuple(replace(chunk, index=len(half) + chunk.index, id=chunk.id[:-4] + "ffff") for chunk in half)
    twice = half + again
    part = replace(whole, chunks=twice, dense=whole.dense[: len(twice)], codes=whole.codes[: len(twice)])
    with written(part, stamp, tmp_path / "half") as index:
        assert index.documents()[0].coverage == pytest.approx(0.5)


def _zip(members: dict[str, str]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return out.getvalue()


@pytest.mark.parametrize(
    ("kind", "data", "words"),
    [
        ("text", "Zoë\n<b>".encode("cp1252"), "Zoë <b>"),
        ("json", rb'{"a": "n\u00e9\n1", "b": [2]}', '{"a": "né 1", "b": [2]}'),
        ("html", b"<title>T</title><p>A &amp; B<!-- c <p> --><script>s('<p>')</script>D<br/>E", "A & B D E"),
        ("html", b"<script>never closed", ""),
        ("html", b"a<SCRIPT>b</script >c<style>d</style>e<svg><style>f</style></svg>g", "a c e g"),
        ("html", b"x < y and <3 and a<!-- open", "x < y and <3 and a"),
        ("xml", b"<?xml version='1.0'?><a><title>T</title><b x='y'>U</b><![CDATA[V<W]]></a>", "T U V<W"),
        ("markdown", b"---\ntitle: T\n---\nA [link](http://x/y) <b>B</b>\n\n[ref]: http://z\n", "A [link ) B"),
        ("rst", b"Title\n=====\n\n.. image:: x.png\n\nText", "Title ===== Text"),
        ("rst", b"A\n\n..\n   not this\n\n   nor this\n\nB\n\n.. nor this\n\n.. note::\n   But this\n", "A B But this"),
        ("org", b"#+TITLE: T\n* Head\n:ID: 7\n[[http://x][shown]]", "* Head shown]]"),
        (
            "docx",
            _zip({"word/document.xml": '<w:t xml:space="preserve">A &lt; B</w:t><w:delText>C</w:delText>'}),
            "A < B",
        ),
        ("docx", _zip({"word/diagrams/data1.xml": "<a:t>D</a:t>", "word/styles.xml": "<w:t>E</w:t>"}), "D"),
        ("pptx", _zip({"ppt/slides/slide2.xml": "<a:tbl><a:t>A</a:t></a:tbl>", "ppt/x.xml": "<a:t>B</a:t>"}), "A"),
        ("xlsx", _zip({"xl/sharedStrings.xml": "<si><t>A</t></si><t/><tx>B</tx>"}), "A"),
        ("ods", _zip({"content.xml": "<text:p>A<text:s/>B</text:p>"}), "A B"),
        ("epub", _zip({"a/1.xhtml": "<p>A</p>", "a/2.html": "<b>B</b>", "a.css": "C"}), "A B"),
    ],
)
def test_what_a_file_shows(kind: Format, data: bytes, words: str) -> None:
    held = held_text(data, kind)
    assert held is not None
    assert held.split() == words.split()


@pytest.mark.parametrize("kind", sorted(set(FORMATS.values()) - {"doc", "ppt", "xls", "rtf", "pdf", "eml", "msg"}))
def test_every_other_format_is_compared(kind: Format) -> None:
    assert held_text(_zip({"x": ""}) if kind in ZIPPED else b"x", kind) is not None


def test_a_member_that_is_damaged_shows_nothing() -> None:
    data = _zip({"word/document.xml": "<w:t>there</w:t>", "word/diagrams/data1.xml": "<a:t>damaged</a:t>"})
    held = held_text(data.replace(b"damaged", b"DAMAGED"), "docx")
    assert held is not None
    assert held.split() == ["there"]


@pytest.mark.parametrize(
    "piece", ["<", "<a ", "<!--", "<script>", "<script ", "-->", "</", "[", "](", ".. ", "[[", "\\u"]
)
@pytest.mark.parametrize("kind", ["html", "xml", "markdown", "rst", "org", "json"])
def test_hostile_markup_takes_no_time(piece: str, kind: Format) -> None:
    """With a step that is not linear, these would take hours."""
    data = piece.encode() * 200_000
    held = held_text(data, kind)
    assert held is not None
    assert len(held) <= len(data)
    assert len(suspicions(data, kind, held, ())) <= 1


@pytest.mark.parametrize("name", OWN)
def test_no_document_of_the_corpus_is_suspected(name: str) -> None:
    document = corpus_document(name)
    assert document.warnings == ()
    chunks = chunk_document(document, EMBEDDER.counter, ChunkPolicy(window=256))
    assert shortfall(document.text, ((chunk.start, chunk.end) for chunk in chunks)) == ""


@pytest.mark.parametrize("file", MADE, ids=lambda file: file.name)
def test_no_sound_file_is_suspected(file: Path) -> None:
    document = parse_bytes(file.read_bytes(), file.name)
    assert document.warnings == ()
    chunks = chunk_document(document, EMBEDDER.counter, ChunkPolicy(window=256))
    assert shortfall(document.text, ((chunk.start, chunk.end) for chunk in chunks)) == ""


SOUND = [
    PROSE,
    "3.14 2.72 1.41\n" * 90,
    "„Das macht Spaß“, sagt er über das schöne Öl im CAFÉ… «QUÉ» für die Grüße aus Köln. " * 20,
    "Маяк стоит на краю мыса и светит двадцать морских миль. " * 10,
    "灯台は岬の先にあり、二十海里先まで光を届ける。" * 20,
    "दीपस्तंभ अंतरीप के सिरे पर है और बीस मील तक दिखता है। " * 10,
    "\uf0b7 The first item of a list\n\uf0b7 The second item of it\n" * 30,
    f"{PROSE}\n{'-' * 400}\n{'=' * 900}",
    " | | | | 7 | | | a\n" * 90,
    f"{PROSE * 3}\ufffd and \ufffd",
    "a\x0cb\x85c " * 100,
    "ok",
    "😀👍" * 20,
]


@pytest.mark.parametrize("text", SOUND)
def test_texts_of_all_kinds_are_sound(text: str) -> None:
    assert suspicions(text.encode(), "text", text, ()) == ()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (PROSE.replace("e", "\ufffd"), "stand for what could not be read"),
        (PROSE.replace("o", "\x03"), "stand for what could not be read"),
        ("(cid:17)(cid:3)(cid:52) " * 40, "stand for what could not be read"),
        ("m\ufffd\ufffd\ufffdn", "3 of its 5 characters"),
        ("\uf041\uf042 \uf043 " * 80, "in a font of the file only"),
        ("Crème brûlée à la carte. ".encode().decode("cp1252") * 3, "another encoding ('Ã¨', 'Ã»', 'Ã©')"),
        ("Маяк стоит на мысе. ".encode().decode("latin-1") * 3, "another encoding"),
        (f"{PROSE} “so“ ".encode().decode("cp1252") * 2, "another encoding ('â€œ')"),
        ("Маяк стоит на самом краю мыса. ".encode("cp1251").decode("cp1252") * 9, "another encoding ('Ìàÿê'"),
        ("!#$%&/()=?+*;:_ " * 40, "hardly any of its 600 characters"),
    ],
)
def test_a_garbled_text_is_told(text: str, told: str) -> None:
    found = suspicions(b"", "pdf", text, ())
    assert any(told in line for line in found), found
    assert all("\n" not in line and len(line) < 250 for line in found)


@settings(max_examples=200, deadline=None)
@given(
    st.text(max_size=200) | st.text(st.sampled_from("<>!-[]/ascript.:\\u0d8\n\ufffd\ud800Ã©"), max_size=200),
    st.sampled_from([kind for kind in sorted(set(FORMATS.values())) if kind not in ZIPPED]),
)
def test_nothing_is_too_odd_to_be_judged(text: str, kind: Format) -> None:
    data = text.replace("\0", "").encode("utf-8", "surrogatepass")
    for line in suspicions(data, kind, text, (text,)):
        assert line.isprintable()


def test_a_pdf_whose_font_does_not_say_what_its_glyphs_are() -> None:
    whole = Dictionary(Registry=String("Adobe"), Ordering=String("Identity"), Supplement=0)
    with Pdf.new() as pdf:
        glyphs = Dictionary(
            Type=Name.Font, Subtype=Name.CIDFontType2, BaseFont=Name.X, CIDSystemInfo=whole, DW=600,
            FontDescriptor=Dictionary(Type=Name.FontDescriptor, FontName=Name.X, Flags=4, Ascent=800, Descent=-200),
        )  # fmt: skip
        font = Dictionary(
            Type=Name.Font, Subtype=Name.Type0, BaseFont=Name.X, Encoding=Name("/Identity-H"),
            DescendantFonts=Array([pdf.make_indirect(glyphs)]),
        )  # fmt: skip
        shown = Stream(pdf, b"BT /F1 12 Tf 72 700 Td <0003000400050006000700080009> Tj ET")
        resources = Dictionary(Font=Dictionary(F1=font))
        box = Array([0, 0, 600, 800])
        pdf.pages.append(Page(Dictionary(Type=Name.Page, MediaBox=box, Resources=resources, Contents=shown)))
        pdf.save(out := io.BytesIO())
    document = parse_bytes(out.getvalue(), "odd.pdf")
    assert document.text.startswith("(cid:3)(cid:4)")
    (told,) = document.warnings
    assert told.startswith("49 of its 49 characters stand for what could not be read")


def test_a_text_that_is_small_beside_its_file() -> None:
    page = f"<p>{PROSE}</p>".encode()
    assert suspicions(page, "html", PROSE[: len(PROSE) // 2 + 9], ()) == ()
    assert suspicions(page, "html", "", (PROSE,)) == (), "boilerplate is no loss"
    (told,) = suspicions(page, "html", PROSE[:200], ())
    assert re.match(r"\d\d% of what the file shows was read \(\d+ of \d+ letters and digits\): look at it", told)
    (told,) = suspicions(page, "html", "x", ())
    assert told.startswith("under 1% of what the file shows was read (1 of ")
    assert suspicions(b"<p>short</p>", "html", "x", ()) == (), "too little to judge"


def test_a_run_tells_and_the_index_remembers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "parse_files", parse_files_here)
    options = "".join(f"Station number {number}, " for number in range(60))
    docs = write_files(
        tmp_path / "docs",
        {
            "sound.md": PROSE,
            "form.html": f"<p>Choose a station.</p><object>{options}</object>",
            "copy.html": f"<p>Choose a station.</p><object>{options}</object>",
            "cafe.txt": "Crème brûlée à la carte.".encode().decode("cp1252"),
        },
    )

    def run() -> IngestReport:
        with EdgeIndex(tmp_path / "index", EMBEDDER, create=True) as index:
            return ingest([docs], index, EMBEDDER)

    def names(warnings: Iterator[Warned]) -> list[str]:
        return [warned.source for warned in warnings]

    first = run()
    assert (first.added, first.failed, names(iter(first.warnings))) == (4, (), ["cafe.txt", "copy.html", "form.html"])
    assert "another encoding" in first.warnings[0].warning
    assert "of what the file shows was read" in first.warnings[1].warning
    assert run().warnings == ()
    (docs / "form.html").rename(docs / "moved.html")
    assert names(iter(run().warnings)) == ["moved.html"], "known content is told of a new name"
    with EdgeIndex(tmp_path / "index", EMBEDDER) as index:
        assert set(index.catalogue.warnings()) == {"cafe.txt", "copy.html", "form.html", "moved.html"}
        assert index.catalogue.find("cafe.txt").warnings == (first.warnings[0].warning,)
        assert index.damage() == {}
