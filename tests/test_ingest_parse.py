"""Each format: known sentences, exact offsets, pages, headings, table rows, encodings, what is refused."""

import io
import os
import re
import zipfile
from pathlib import Path

import pikepdf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ingest_support import CORPUS
from ingest_support import corpus_document as parsed

from ingest.decoding import decode
from ingest.errors import ParseError
from ingest.formats import FORMATS
from ingest.parse import parse_bytes
from ingest.types import Document

SAFETY = "handbook/safety-manual.pdf"
EXPENSES = "handbook/expenses-and-travel.docx"
OFFICES = "handbook/governance-and-offices.html"
PARTS = "product/spare parts guide.md"


def flat(document: Document) -> str:
    return " ".join(document.text.split())


def titles(document: Document) -> list[tuple[str, int]]:
    return [(element.text, element.depth) for element in document.elements if element.kind == "title"]


def check_offsets(document: Document) -> None:
    end = -1
    for element in document.elements:
        assert document.text[element.start : element.end] == element.text
        assert element.text.strip() == element.text != ""
        assert element.start == end + 1
        assert element.page is None or element.page >= 1
        end = element.end
    assert end == len(document.text)


@pytest.mark.parametrize("name", sorted(str(p.relative_to(CORPUS)) for p in CORPUS.rglob("*.*")))
def test_offsets_of_the_corpus(name: str) -> None:
    check_offsets(parsed(name))
    assert parsed(name).source == name


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (OFFICES, "Each sends one delegate to the coordinating circle."),
        (PARTS, "The bearing cartridge is exchanged when E-17 appears"),
        ("product/faq.txt", "My station shows a red light. Is it broken? A: No."),
        (SAFETY, "nobody works alone on a mast, in a boat or in the battery room"),
        (EXPENSES, "nobody should earn money by travelling and nobody should lose any"),
    ],
)
def test_known_sentences(name: str, sentence: str) -> None:
    assert sentence in flat(parsed(name))


@pytest.mark.parametrize(
    ("name", "row"),
    [
        (OFFICES, "Chair | Mattias Orrebeck | 12 May 2022 | May 2026 | Omar Delvig | Ingrid Solvane"),
        (PARTS, "Cup wheel | CW-2 | CW-3 | CW-3P | 38 / 64 / 118 crowns"),
        (SAFETY, "Landing from the Tern | 9 m/s | 13 m/s | 0.8 m | swell period above 5 s"),
        (EXPENSES, "Lunch | 11 crowns | 22 crowns"),
    ],
)
def test_a_table_row_is_one_line(name: str, row: str) -> None:
    tables = [element.text for element in parsed(name).elements if element.kind == "table"]
    assert any(row in table.split("\n") for table in tables)


def test_headings_have_their_depth() -> None:
    assert titles(parsed(OFFICES))[:2] == [("Who does what", 0), ("Elected offices", 1)]
    assert titles(parsed(PARTS))[:2] == [("Spare Parts Guide", 0), ("How to use this guide", 1)]
    assert ("Meals", 0) in titles(parsed(EXPENSES))
    made = parse_bytes(b"# One\n\n### Three\n\nText.\n\n## Two\n\nText.", "a.md")
    assert titles(made) == [("One", 0), ("Three", 2), ("Two", 1)]


def test_pages_of_a_pdf() -> None:
    pages = [element.page for element in parsed(SAFETY).elements]
    assert pages == sorted(pages, key=lambda page: page or 0)
    assert set(pages) == {1, 2, 3}
    assert {element.page for element in parsed(OFFICES).elements} == {None}


@pytest.mark.parametrize("file", sorted(CORPUS.rglob("*.txt")), ids=lambda file: file.name)
def test_every_word_of_a_text_arrives(file: Path) -> None:
    document = parsed(str(file.relative_to(CORPUS)))
    written, read = (re.findall(r"\w+", text) for text in (decode(file.read_bytes()), document.text))
    assert read == written


@pytest.mark.parametrize("file", sorted(CORPUS.rglob("*.md")), ids=lambda file: file.name)
def test_every_word_of_markdown_arrives(file: Path) -> None:
    document = parsed(str(file.relative_to(CORPUS)))
    text = re.sub(r"^ *\d+\. |^```\w*", "", decode(file.read_bytes()), flags=re.MULTILINE)
    assert re.findall(r"\w+", document.text) == re.findall(r"\w+", text)


def test_what_a_reader_of_a_page_sees_arrives() -> None:
    page = """<html><head><title>T</title><script>no()</script><style>p{}</style></head><body>bare
    <form><p>in a form</p><label>its label</label></form><div>in a div <b>bold</b> tail</div>
    <details><summary>folded</summary><p>below</p></details>
    <figure><img src="x.png"><figcaption>caption</figcaption></figure>
    <dl><dt>term</dt><dd>meaning</dd></dl><pre>code {\n    indented\n}</pre>
    <ul><li>one<ul><li>two</li></ul></li></ul><table><tr><td>x<br>y</td><td>z</td></tr></table></body></html>"""
    document = parse_bytes(page.encode(), "a.html")
    check_offsets(document)
    for text in [
        *("bare", "in a form", "its label", "in a div bold tail", "folded", "below", "caption"),
        *("term", "meaning", "code {\n    indented\n}", "one", "two", "x y | z"),
    ]:
        assert text in document.text
    assert "no()" not in document.text


SENTENCE = "Smørrebrød à la carte – “naïve” café, 5 € a piece."


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("bom.txt", SENTENCE.encode("utf-8-sig")),
        ("utf16.txt", SENTENCE.encode("utf-16")),
        ("utf16be.txt", b"\xfe\xff" + SENTENCE.encode("utf-16-be")),
        ("utf32.txt", SENTENCE.encode("utf-32")),
        ("cp1252.txt", SENTENCE.encode("cp1252")),
        ("cp1252.md", SENTENCE.encode("cp1252")),
        ("plain.html", f"<p>{SENTENCE}</p>".encode()),
        ("meta.html", f'<meta charset="windows-1252"><p>{SENTENCE}</p>'.encode("cp1252")),
        (
            "iso15.html",
            f'<meta http-equiv="Content-Type" content="text/html; charset=iso-8859-15"><p>{SENTENCE}</p>'.replace(
                "–", "-"
            )
            .replace("“", '"')
            .replace("”", '"')
            .encode("iso-8859-15"),
        ),
        (
            "declared.xhtml",
            f'<?xml version="1.0" encoding="windows-1252"?>\n<html xmlns="http://www.w3.org/1999/xhtml">'
            f"<body><p>{SENTENCE}</p></body></html>".encode("cp1252"),
        ),
        ("utf16.html", f'<?xml version="1.0" encoding="utf-16"?><p>{SENTENCE}</p>'.encode("utf-16")),
        ("wrong.html", b'<meta charset="idna">' + f"<p>{SENTENCE}</p>".encode("cp1252")),
        ("unknown.html", b'<meta charset="klingon">' + f"<p>{SENTENCE}</p>".encode("cp1252")),
    ],
)
def test_encodings(name: str, data: bytes) -> None:
    text = parse_bytes(data, name).text
    assert text.replace("–", "-").replace("“", '"').replace("”", '"') == SENTENCE.replace("–", "-").replace(
        "“", '"'
    ).replace("”", '"')


def test_latin_1_and_other_scripts() -> None:
    assert parse_bytes("Blåbærgrød på bordet".encode("latin-1"), "a.txt").text == "Blåbærgrød på bordet"
    log = next(CORPUS.rglob("service-log*.txt")).read_text()
    long = log * 4 + "Blåbærgrød på bordet. " * 60
    assert decode(long.encode("latin-1", "ignore")) == long.encode("latin-1", "ignore").decode("latin-1")
    french = "L'été dernier, les élèves ont visité le château où régnait la reine. " * 40
    assert decode(french.encode("cp1252")) == french
    polish = "Żółw płynie łódką przez jezioro, a wędkarz śpi pod drzewem i śni. " * 40
    assert decode(polish.encode("cp1250")) == polish
    russian = "Смотритель маяка записывает погоду каждое утро в журнал наблюдений. " * 5
    assert parse_bytes(russian.encode("cp1251"), "a.txt").text == russian.strip()


def test_one_broken_byte_does_not_garble_a_file() -> None:
    text = "Smørrebrød på øen. " * 40
    data = text.encode() + b"\xff\xfe" + text.encode()
    assert decode(data).replace("\ufffd", "") == text + text
    assert decode(text.encode()[:-3] + "ø".encode()[:1]).startswith(text[:-3])


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n"])
@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.html"])
def test_line_ends(name: str, end: str) -> None:
    lines = ["<pre>one", "two</pre>"] if name == "a.html" else ["One.", "", "Two."]
    document = parse_bytes(end.join(lines).encode(), name)
    check_offsets(document)
    assert document.text.lower().replace(".", "") == "one\ntwo"


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=200).map(lambda text: text.encode("utf-16", "surrogatepass")))
def test_any_bytes_give_a_document_or_a_reason(data: bytes) -> None:
    for name in ("a.txt", "a.html", "a.md", "a.docx"):
        try:
            document = parse_bytes(data, name)
        except ParseError:
            continue
        else:
            check_offsets(document)
            document.text.encode()


def pdf_with(**options: object) -> bytes:
    out = io.BytesIO()
    with pikepdf.open(CORPUS / SAFETY) as pdf:
        pdf.save(out, **options)
    return out.getvalue()


def test_an_encrypted_pdf() -> None:
    locked = pdf_with(encryption=pikepdf.Encryption(user="secret", owner="owner"))
    with pytest.raises(ParseError, match="encrypted with a password: save a copy without one"):
        parse_bytes(locked, "a.pdf")


def test_a_pdf_protected_from_changes_is_read() -> None:
    protected = pdf_with(encryption=pikepdf.Encryption(user="", owner="owner"))
    assert parse_bytes(protected, "a.pdf").text == parsed(SAFETY).text


def test_a_pdf_that_lost_its_index_is_repaired() -> None:
    data = (CORPUS / SAFETY).read_bytes()
    broken = data[: data.rindex(b"startxref")] + b"startxref\n12\n%%EOF"
    assert parse_bytes(broken, "a.pdf").text == parsed(SAFETY).text


def test_a_scanned_pdf() -> None:
    out = io.BytesIO()
    with pikepdf.new() as pdf:
        pdf.add_blank_page()
        pdf.save(out)
    with pytest.raises(ParseError, match=r"no text layer.*--ocr"):
        parse_bytes(out.getvalue(), "a.pdf")


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("random.pdf", os.urandom(3000).replace(b"%PDF-", b""), "not a PDF"),
        ("junk.pdf", b"%PDF-1.7\n" + bytes(range(256)) * 9, "damaged PDF|no text layer"),
        (
            "encrypted.docx",
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600),
            "encrypted, or an old file that is no .docx",
        ),
        ("random.docx", b"PK\x03\x04" + bytes(range(256)), "not a readable DOCX"),
        ("text.docx", b"only text", "not a readable DOCX"),
        ("empty.txt", b"", "empty"),
        ("blank.md", b" \r\n\t ", "empty"),
        ("scripts.html", b"<html><body><script>x()</script></body></html>", "no text"),
        ("pdf.txt", b"%PDF-1.4 ...", "a PDF in a file named as text: rename it"),
        ("nul.txt", b"some\0text", "binary data"),
        ("photo.jpg", b"\xff\xd8\xff", "unknown file type '.jpg'"),
        ("bare", b"text", "without a suffix"),
    ],
)
def test_refused_with_the_reason_and_the_remedy(name: str, data: bytes, reason: str) -> None:
    with pytest.raises(ParseError, match=reason) as error:
        parse_bytes(data, name)
    assert "\n" not in str(error.value)


def zipped(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def test_a_zip_that_is_no_docx() -> None:
    with pytest.raises(ParseError, match="zip archive with something else in it"):
        parse_bytes(zipped({"a.txt": b"x"}), "a.docx")
    with pytest.raises(ParseError, match="cannot be read as docx"):
        parse_bytes(zipped({"word/document.xml": b"<x/>"}), "a.docx")


def test_a_zip_bomb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.archives.MAX_UNPACKED_BYTES", 2**20)
    bomb = zipped({"word/document.xml": bytes(2**21)})
    assert len(bomb) < 5000
    with pytest.raises(ParseError, match="unpacks to more than 1 MiB"):
        parse_bytes(bomb, "a.docx")


def test_a_page_nested_without_end() -> None:
    page = "<div>" * 5000 + "deep down" + "</div>" * 5000
    with pytest.raises(ParseError, match=r"no text|cannot be read as html"):
        parse_bytes(page.encode(), "a.html")


def test_same_content_has_the_same_id_and_another_format_another() -> None:
    one, two = parse_bytes(b"Some text.", "a.txt"), parse_bytes(b"Some text.", "b/c.txt")
    assert (one.id, one.content_hash) == (two.id, two.content_hash)
    assert parse_bytes(b"Some text.", "a.md").id != one.id


def test_suffixes_are_case_blind() -> None:
    assert parse_bytes(b"# Hi", "READ.MD").text == "Hi"
    assert all(suffix == suffix.lower() and Path(f"x{suffix}").suffix == suffix for suffix in FORMATS)
