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


def rows(page: str) -> list[str]:
    return [element.text for element in parse_bytes(page.encode(), "a.html").elements]


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("<caption>Table 2. <b>Fees</b></caption><tr><td>a</td></tr>", ["Table 2. Fees", "a"]),
        ("<caption>Table 2. Fees</caption>", ["Table 2. Fees"]),
        ("loose<tr><td>a</td></tr> and <tr>last<td>b</td></tr>", ["loose and last", "a\nb"]),
        ("<tr><p>loose</p><td>a</td></tr>", ["loose", "a"]),
        ("<form><tr><td>a<td>b</td></tr></form>", ["a | b"]),
        ("<tr><form><td>a</td><td>b</td></form><td>c</td></tr>", ["a | b | c"]),
        ("<td>a</td><td>b</td><tr><td>c</td></tr><td>d</td>", ["a | b\nc\nd"]),
        ("<thead><th>A</th></thead><tbody><tr><td>1</td></tr></tbody><!-- not shown -->", ["A\n1"]),
        ("<tr><td>a<table>in<caption>side</caption><tr><td>b</td></tr></table></td></tr>", ["a in side b"]),
    ],
)
def test_what_is_in_a_table_but_in_no_cell_stands_before_it(table: str, expected: list[str]) -> None:
    """As in browsers; a cell without a row gets one."""
    assert rows(f"<p>Before.</p><table>{table}</table>After.") == ["Before.", *expected, "After."]


WORDS = st.sampled_from([f"word{number}" for number in range(30)])
PARTS_OF_TABLES = st.sampled_from(
    ["table", "thead", "tbody", "tfoot", "tr", "td", "th", "caption", "colgroup", "form", "center", "div", "p", "b"]
)


@given(
    st.recursive(
        WORDS,
        lambda inner: st.builds(
            lambda tag, parts: f"<{tag}> {' '.join(parts)} </{tag}>", PARTS_OF_TABLES, st.lists(inner, max_size=4)
        ),
        max_leaves=30,
    )
)
@settings(max_examples=200, deadline=None)
def test_no_word_of_a_table_is_lost_however_it_is_written(inside: str) -> None:
    found = " ".join(rows(f"<p>Before.</p><table> {inside} </table> After."))
    assert sorted(re.findall(r"word\d+", found)) == sorted(re.findall(r"word\d+", inside))
    assert found.startswith("Before.")
    assert found.endswith("After.")


def test_formulas() -> None:
    """In TeX where they say it themselves, else their signs one after the other."""
    signs = "<math><mi>E</mi><mo>=</mo><mi>m</mi><msup><mi>c</mi><mn>2</mn></msup></math>"
    tex = "<semantics><mi>E</mi><annotation encoding='application/x-tex'>E=mc^2</annotation></semantics>"
    alone = "<math display='block'><mtext>alone</mtext></math>"
    page = f"<p>First {signs} holds.</p><p>Then <math>{tex}</math> does.</p>{alone}"
    assert rows(page) == ["First E = m c 2 holds.", "Then E=mc^2 does.", "alone"]


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


IN_OTHER_ENCODINGS = {
    "Slovak": (
        "Každý večer správca majáka zapáli svetlo a zapíše počasie do knihy. "
        "Lode, ktoré plávajú okolo, ďakujú trúbením.",
        "cp1250 iso8859_2",
    ),
    "Slovenian": (
        "Čuvaj svetilnika vsak večer prižge luč in zapiše vreme. Ladje, ki plujejo mimo, zažvižgajo v pozdrav.",
        "cp1250 iso8859_2",
    ),
    "Hungarian": (
        "A toronyőr minden este meggyújtja a lámpát, és följegyzi az időjárást. "
        "Az elhaladó hajók kürtölnek egyet, ő pedig integet.",
        "cp1250 iso8859_2",
    ),
    "Polish": (
        "Latarnik co wieczór zapala światło i zapisuje pogodę w księdze. Przepływające statki pozdrawiają go syreną.",
        "cp1250 iso8859_2",
    ),
    "Romanian": (
        "În fiecare seară paznicul aprinde lumina şi scrie vremea în registru. Vapoarele care trec îi mulţumesc.",
        "cp1250 iso8859_2",
    ),
    "Turkish": (
        "Bekçi her akşam ışığı yakar ve havayı deftere yazar. Geçen gemiler düdük çalarak teşekkür eder.",
        "cp1254 iso8859_9",
    ),
    "Latvian": (
        "Katru vakaru sargs iededz gaismu un pieraksta laiku grāmatā. Garām braucošie kuģi pateicas ar signālu.",
        "cp1257",
    ),
    "Estonian": (
        "Igal õhtul süütab valvur tule ja märgib ilma raamatusse. Möödasõitvad laevad tänavad teda pasunaga.",
        "cp1257 cp1252",
    ),
    "Finnish": (
        "Joka ilta vartija sytyttää valon ja kirjaa sään kirjaan. Ohi kulkevat laivat kiittävät äänimerkillä.",
        "cp1252 latin_1",
    ),
    "Dutch": (
        "Elke avond steekt de wachter het licht aan en schrijft hij het weer in het boek. "
        "Zoë’s reünie kost € 5, één keer per jaar.",
        "cp1252",
    ),
    "Norwegian": (
        "Hver kveld tenner vokteren lyset og skriver været i boken. Båter som går forbi, hilser på ham før de når øya.",
        "cp1252 latin_1",
    ),
    "Catalan": (
        "Cada vespre el vigilant encén el llum i anota el temps al llibre. "
        "Els vaixells que passen l’hi agraeixen; és així cada dia, col·lega.",
        "cp1252",
    ),
    "Italian": (
        "Ogni sera il guardiano accende la luce e scrive che tempo è. "
        "È così da più di cent’anni: perché no? La città dorme già.",
        "cp1252",
    ),
    "Albanian": (
        "Çdo mbrëmje roja ndez dritën dhe shënon motin në libër. Anijet që kalojnë e përshëndesin.",
        "cp1252 latin_1",
    ),
    "Icelandic": (
        "Á hverju kvöldi kveikir vörðurinn ljósið og skrifar veðrið í bókina. Skipin sem fara hjá þakka honum fyrir.",
        "cp1252 latin_1",
    ),
    "French": (
        "Chaque soir, le gardien allume la lumière et note le temps dans le cahier. "
        "Où sont passés les bœufs ? À Noël, ça n’a pas gêné.",
        "cp1252",
    ),
    "Portuguese": (
        "Todas as noites o guarda acende a luz e anota o tempo. "
        "Os navios que passam põem as sirenes a tocar: não há solidão.",
        "cp1252 latin_1",
    ),
    "Japanese": (
        "灯台守は毎晩あかりをともし、天気を帳面に書きます。通りすぎる船は汽笛を鳴らしてあいさつします。",
        "shift_jis euc_jp iso2022_jp cp932",
    ),
    "Korean": (
        "등대지기는 저녁마다 불을 켜고 날씨를 공책에 적는다. 지나가는 배들은 고동을 울려 인사한다.",
        "cp949 euc_kr",
    ),
    "Chinese": (
        "守塔人每天晚上点亮灯光，并把天气记在本子上。路过的船只鸣笛向他致意。",
        "gb18030 gbk gb2312",
    ),
    "Chinese of Taiwan": (
        "守塔人每天晚上點亮燈光，並把天氣記在本子上。路過的船隻鳴笛向他致意。",
        "big5",
    ),
    "Ukrainian": (
        "Щовечора доглядач запалює світло й записує погоду до книги. Кораблі, що пропливають, вітають його гудком.",
        "cp1251 koi8_u",
    ),
    "Bulgarian": (
        "Всяка вечер пазачът запалва светлината и записва времето в книгата. Минаващите кораби го поздравяват.",
        "cp1251",
    ),
    "Greek": (
        "Κάθε βράδυ ο φύλακας ανάβει το φως και γράφει τον καιρό στο βιβλίο. Τα πλοία που περνούν τον χαιρετούν.",
        "cp1253 iso8859_7",
    ),
    "Hebrew": (
        "בכל ערב השומר מדליק את האור ורושם את מזג האוויר בספר. הספינות העוברות מברכות אותו בצופר.",
        "cp1255",
    ),
    "Arabic": (
        "كل مساء يشعل الحارس الضوء ويكتب حالة الطقس في الدفتر. السفن المارة تحييه بصافرتها.",
        "cp1256",
    ),
    "Thai": (
        "ทุกเย็นคนเฝ้าประภาคารจุดไฟและจดสภาพอากาศลงในสมุด เรือที่ผ่านไปเปิดหวูดทักทายเขา",
        "cp874",
    ),
}


@pytest.mark.parametrize("language", IN_OTHER_ENCODINGS)
@pytest.mark.parametrize("times", [1, 50])
def test_an_encoding_is_found_by_the_letters(language: str, times: int) -> None:
    sentences, encodings = IN_OTHER_ENCODINGS[language]
    text = f"{sentences}\n" * times
    for encoding in encodings.split():
        assert decode(text.encode(encoding)) == text, encoding


SHORT = """café|naïve|20 °C|½ cup|x²|µm|José|señor|Ångström|Größe|Malmö|Île|Ça va|æøå|Straße 5|Fußgängerzone|Smørrebrød
Crème brûlée à la carte.|© 2024 Harbour Ltd|déjà vu, says the owner, for £4|It costs 5 € a day.
“quoted”|A – B|naïve – “thing”"""


@pytest.mark.parametrize("text", SHORT.replace("\n", "|").split("|"))
def test_a_short_text_is_taken_for_a_western_one(text: str) -> None:
    assert decode(text.encode("cp1252")) == text
    assert decode(f"{'The lamp burns. ' * 300}{text}".encode("cp1252")).endswith(text)


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
        ("cut.pdf", b"%PDF-1.7 cut off", r"^damaged PDF \(unable to find trailer"),
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
