"""What a page or a book repeats is left out and named; what could be content stays."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ingest_support import CORPUS
from pikepdf import Array, Dictionary, Name, Page, Pdf, Stream

from ingest.markup import read_html
from ingest.parse import parse_bytes
from ingest.rows import squeezed

NAV = "<nav><a href=a>Home</a><a href=b>Prices</a></nav>"


def read(page: str) -> tuple[list[str], tuple[str, ...]]:
    reading = read_html(page)
    return [row.text for row in reading.rows], reading.boilerplate


@pytest.mark.parametrize(
    ("page", "texts", "left_out"),
    [
        (f"{NAV}<p>Text.</p>", ["Text."], ("Home Prices",)),
        ("<div role=navigation>Home</div><p>Text.</p>", ["Text."], ("Home",)),
        ("<div class='x navheader'>Prev Next</div><p>Text.</p>tail", ["Text.", "tail"], ("Prev Next",)),
        ("<div class=navigation>Of the island</div><p>Text.</p>", ["Of the island", "Text."], ()),
        ("<header>Site</header><p>Text.</p><footer>Zoë</footer>", ["Site", "Text.", "Zoë"], ()),
        ("<header>Site</header><main><p>Text of it.</p></main><footer>Zoë</footer>", ["Text of it."], ("Site", "Zoë")),
        ("<div><p>Aside</p><div role=main>Text of it.</div></div>end", ["Text of it.", "end"], ("Aside",)),
        ("<main>One.</main><p>Between</p><main>Two.</main>", ["One.", "Two."], ("Between",)),
        ("<header><h1>Title</h1>Site</header><main>Text.</main>", ["Title", "Site", "Text."], ()),
        (
            "<header><h1>Title</h1>Site</header><main><h1>T</h1>Text of it.</main>",
            ["T", "Text of it."],
            ("Title Site",),
        ),
        ("<main></main><p>All of the text.</p>", ["All of the text."], ()),
        (f"<main>a</main><p>{'The text is elsewhere. ' * 9}</p>", ["a", ("The text is elsewhere. " * 9).strip()], ()),
        ("<article><header>By Zoë</header>Text.</article><aside>Ads</aside>", ["By Zoë", "Text."], ("Ads",)),
        ("<footer>Last</footer><footer><article>Text.</article></footer>", ["Text."], ("Last",)),
        ("<div role=dialog id=cookie-note>We use cookies</div><p>Text.</p>", ["Text."], ("We use cookies",)),
        ("<div id=cookies>Recipe for cookies</div>", ["Recipe for cookies"], ()),
        ("<div role=region>Region</div>", ["Region"], ()),
        (f"<nav>{NAV}outer</nav><p>Text.</p>", ["Text."], ("Home Prices outer",)),
        (f"<main>{NAV}<p>Text.</p></main>", ["Text."], ("Home Prices",)),
        ("<nav><main>Hidden?</main></nav><p>Text.</p>", ["Text."], ("Hidden?",)),
        ("<p>One <button>Go <svg>x</svg></button>two.</p><svg><text>Tide</text></svg>", ["One two."], ("Go x", "Tide")),
        ("<select><option>Pier<option>Slip</select><dialog>Ask</dialog>", ["Ask"], ("Pier Slip",)),
        ("<fieldset><legend>Crew</legend>of two<textarea>Note</textarea></fieldset>", ["Crew", "of two", "Note"], ()),
    ],
)
def test_pages(page: str, texts: list[str], left_out: tuple[str, ...]) -> None:
    assert read(f"<html><body>{page}</body></html>") == (texts, left_out)


FRAMES = ["nav", "header", "footer", "aside", "main", "article", "div", "p", "h1", "section"]
OTHERS = ["button", "select", "svg", "dialog", "form", "fieldset", "legend", "figure", "details", "x-card"]
TAGS = st.sampled_from([*FRAMES, *OTHERS])
PAGES = st.recursive(
    st.integers(0, 999).map(lambda number: f" w{number} "),
    lambda inner: st.tuples(TAGS, st.lists(inner, max_size=4)).map(lambda t: f"<{t[0]}>{''.join(t[1])}</{t[0]}>"),
    max_leaves=12,
)


@given(st.lists(PAGES, max_size=5).map("".join))
def test_every_word_is_kept_or_named(page: str) -> None:
    texts, left_out = read(f"<html><body>w {page}</body></html>")
    written = ["w", *re.findall(r"w\d+", page)]
    assert sorted(" ".join([*texts, *left_out]).split()) == sorted(written)


def test_the_corpus_names_what_it_leaves_out() -> None:
    page = CORPUS / "product" / "led-and-controls.html"
    document = parse_bytes(page.read_bytes(), page.name)
    assert document.boilerplate == (
        "Gateway | HTTP interface | Error codes | Lights and controls",
        "Skerrywatch Cooperative, Salthouse Lane 4, Vardhamn. Page of 3 June 2024.",
    )
    assert "Salthouse" not in document.text


def pdf(pages: list[list[tuple[int, int, str]]]) -> bytes:
    """Pages of (x, y, text) in points from the lower left corner of an A4 sheet."""
    made = Pdf.new()
    font = made.make_indirect(Dictionary(Type=Name.Font, Subtype=Name.Type1, BaseFont=Name.Helvetica))
    for texts in pages:
        lines = "".join(f"BT /F 11 Tf {x} {y} Td ({text}) Tj ET\n" for x, y, text in texts)
        page = Dictionary(
            Type=Name.Page,
            MediaBox=Array([0, 0, 595, 842]),
            Resources=Dictionary(Font=Dictionary(F=font)),
            Contents=Stream(made, lines.encode()),
        )
        made.pages.append(Page(made.make_indirect(page)))
    out = io.BytesIO()
    made.save(out)
    return out.getvalue()


def page_of(number: int, head: str, foot: str) -> list[tuple[int, int, str]]:
    body = [(70, 500, f"What stands on sheet {number} is said only once."), (70, 450, "But this is on every page.")]
    return [(70, 800, head), *body, (280, 40, foot)]


def test_headers_and_footers_of_a_pdf() -> None:
    document = parse_bytes(pdf([page_of(n, "Kestrel handbook", f"{n} / 6") for n in range(1, 7)]), "a.pdf")
    assert document.text.count("Kestrel handbook") == 1
    assert document.text.count("But this is on every page.") == 6
    assert "/ 6" not in document.text
    assert document.boilerplate == ("1 / 6", "Kestrel handbook", *(f"{n} / 6" for n in range(2, 7)))


@pytest.mark.parametrize(
    "pages",
    [
        [page_of(n, "Kestrel handbook", "Draft") for n in range(1, 4)],
        [page_of(n, f"Chapter {'abcdefg'[n]}", f"Note {'abcdefg'[n]}") for n in range(6)],
        [page_of(n, "Warning" if n < 2 else f"Chapter {'abcdefg'[n]}", "x" * (n + 1)) for n in range(6)],
        [[(70 + 40 * n, 800 - 9 * n, "Kestrel handbook"), (70, 300, f"Sheet {n}")] for n in range(6)],
    ],
    ids=["three pages", "all differ", "on two of six", "at other places"],
)
def test_what_a_pdf_does_not_repeat_stays(pages: list[list[tuple[int, int, str]]]) -> None:
    document = parse_bytes(pdf(pages), "a.pdf")
    assert document.boilerplate == ()
    text = squeezed(document.text)
    assert all(text.count(words) >= 1 for page in pages for _, _, words in page)
