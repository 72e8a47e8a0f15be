"""The page: complete without JavaScript, closed to the network, and no text of a case becomes markup in it."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_support import HOSTILE, put, report_of

from eval import plots
from eval.compare import compare
from eval.figures import Bin, Rate, calibration
from eval.gate import Check
from eval.html import Piece, anchor_of, pieces, report_html
from eval.text import printable
from eval.types import Cited, Report

CHECKS = (
    Check(gate="floor f1", passed=True, why="fine"),
    Check(gate="invariant errors", passed=False, why="1, must be 0 plain"),
)
VOID = {"meta", "br", "input"}
DRAWN = {"line", "circle", "rect"}
ANY = st.text(st.characters(), min_size=1).filter(str.strip)


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    texts: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.texts)


class Page(HTMLParser):
    """The elements of a document in order; each holds the text of all that stands in it. Tags must be balanced."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self._open: list[Element] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), "an attribute comes twice"
        self.elements.append(Element(tag=tag, attributes={name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(self.elements[-1])

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in DRAWN
        self.elements.append(Element(tag=tag, attributes={name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.texts.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    def all(self, tag: str, kind: str = "") -> list[Element]:
        return [
            element
            for element in self.elements
            if element.tag == tag and (not kind or kind in element.attributes.get("class", "").split())
        ]

    @property
    def shape(self) -> list[tuple[str, tuple[str, ...]]]:
        """Tags and names of attributes, in order: what a text must never change."""
        return [(element.tag, tuple(element.attributes)) for element in self.elements]


def turned(report: Report) -> Report:
    """The same run, but that the right answer was wrong."""
    first = report.results[0]
    scores = tuple(replace(score, value=0.0) if score.name == "answer_recall" else score for score in first.scores)
    return replace(report, results=(replace(first, scores=scores), *report.results[1:]))


def page_of(text: str = "plain") -> Page:
    report = turned(report_of())
    comparison = replace(compare(report_of(), report), notes=("left out: plain",))
    return Page(report_html(put_into(text, report), put(text, CHECKS), put(text, comparison)))


def put_into(text: str, report: Report) -> Report:
    return replace(report, results=put(text, report.results), facts={**report.facts, f"fact {text}": text})


def test_the_page_asks_for_nothing() -> None:
    page = page_of(HOSTILE)
    assert not {element.tag for element in page.elements} & {
        "img",
        "link",
        "iframe",
        "object",
        "base",
        "embed",
        "image",
    }
    for element in page.elements:
        assert not [name for name in element.attributes if name.startswith("on")]
        assert not set(element.attributes) & {"src", "srcset", "style", "action", "xlink:href"}
        assert element.attributes.get("href", "#").startswith("#")
    assert not re.search(r"url\(|@import|http", page.all("style")[0].text)


def test_only_our_style_and_script_are_allowed() -> None:
    page = page_of(HOSTILE)
    policies = [meta.attributes["content"] for meta in page.all("meta") if "http-equiv" in meta.attributes]
    assert len(policies) == 1
    policy = dict(rule.split(" ", 1) for rule in policies[0].split("; "))
    assert policy["default-src"] == "'none'"
    for rule, tag in (("style-src", "style"), ("script-src", "script")):
        assert len(page.all(tag)) == 1
        digest = base64.b64encode(hashlib.sha256(page.all(tag)[0].text.encode()).digest()).decode()
        assert policy[rule] == f"'sha256-{digest}'"


def test_every_link_leads_somewhere_and_every_case_has_one() -> None:
    page = page_of(HOSTILE)
    ids = [element.attributes["id"] for element in page.elements if "id" in element.attributes]
    assert len(set(ids)) == len(ids)
    links = {element.attributes["href"][1:] for element in page.all("a")}
    assert links <= set(ids)
    items = [item.attributes["id"] for item in page.all("details", "item")]
    assert len(items) == 6
    assert set(items) <= links
    named = [
        value for element in page.elements for name, value in element.attributes.items() if name == "aria-labelledby"
    ]
    assert named
    assert set(named) <= set(ids)


@settings(max_examples=15, deadline=None)
@given(ANY)
def test_no_text_becomes_markup(text: str) -> None:
    html = report_html(report_of(text), (Check(gate=text, passed=False, why=text),))
    html.encode("utf-8")
    page = Page(html)
    plain = Page(report_html(report_of("plain"), (Check(gate="plain", passed=False, why="plain"),)))
    linked = re.search(r"\[\s*\d", text)  # a citation in the text becomes a link, as it should
    assert linked or page.shape == plain.shape
    assert any(printable(f"How many? {text}") in item.text for item in page.all("details", "item"))


def test_hostile_text_is_shown_as_it_is() -> None:
    page = page_of(HOSTILE)
    shown = printable(HOSTILE)
    item = next(item for item in page.all("details", "item") if item.attributes["id"] == anchor_of(f"wrong {HOSTILE}"))
    assert f"How many? {shown}" in item.text
    assert any(shown in passage.text for passage in page.all("details", "passage"))
    assert '"fact </script><script>alert(1)' in page.all("pre")[0].text


def test_the_verdict_stands_first_and_failed_bounds_before_met_ones() -> None:
    page = page_of()
    assert page.all("p", "verdict")[0].text == "Gate failed: 1 of 2 bounds"
    text = page.all("body")[0].text
    assert text.index("invariant errors") < text.index("floor f1")
    assert Page(report_html(report_of(), CHECKS[:1])).all("p", "verdict")[0].text == "Gate passed: 1 of 1 bounds"
    assert Page(report_html(report_of())).all("p", "verdict")[0].text == "No gate was asked for"


def test_flipped_cases_come_first_then_failures_then_the_rest() -> None:
    page = page_of()
    assert [group.text.split(" (")[0].split(":")[0] for group in page.all("h3")] == [
        "Flipped against the baseline",
        "To look at",
        "The rest",
    ]
    ids = [item.attributes["id"].removeprefix("case-") for item in page.all("details", "item")]
    assert ids == ["right", "shy", "invented", "broken", "wrong%20plain", "none"]


def test_an_item_shows_what_it_was_judged_by() -> None:
    item = next(item for item in page_of().all("details", "item") if item.attributes["id"] == "case-right")
    for part in (
        "How many?",
        "The MV Orrin carries 214 passengers. [1]",
        "Dogs travel free.",
        "p_supported 1.00",
        "cites [1], which supports it",
        "closest to",
        "Judged by word, balanced accuracy 0.700",
    ):
        assert part in item.text
    marks = [mark.text for mark in page_of().all("mark", "cited")]
    assert marks == ["The MV Orrin carries 214 passengers."]


def test_a_citation_links_to_its_passage_and_an_invented_one_does_not() -> None:
    links = {(link.text, link.attributes["href"]) for link in page_of().all("a")}
    assert ("[1]", "#case-right-p1") in links
    assert not any(text == "[9]" for text, _ in links)


def test_every_figure_says_how_many_and_how_sure() -> None:
    page = page_of()
    figures = page.all("figure")
    assert len(figures) >= 3
    for figure in figures:
        assert re.search(r"n = \d+", figure.text)
        assert re.search(r"0\.\d{3} to \d\.\d{3}|95% intervals", figure.text)
    for drawing in page.all("svg"):
        assert drawing.attributes.get("aria-label") or drawing.attributes.get("aria-hidden") == "true"
    judge = "judged by word, balanced accuracy 0.700"
    judged = {row.text.split(" ")[0] for row in page.all("tr") if judge in row.text}
    assert judged >= {"groundedness", "groundedness_strict", "citation_recall", "citation_precision"}


def test_a_run_without_anything_to_plot() -> None:
    report = report_of()
    refused = replace(report, results=report.results[2:4])
    page = Page(report_html(refused))
    assert "No answer has both a claim and a gold answer" in page.all("body")[0].text
    assert "The answers do not say what they cost." in page.all("body")[0].text


@given(ANY, ANY)
def test_two_cases_never_share_an_anchor(one: str, other: str) -> None:
    assert (anchor_of(one) == anchor_of(other)) == (one == other)
    assert re.fullmatch(r"case-[\w.~%-]+", anchor_of(one), re.ASCII)


@pytest.mark.parametrize(
    ("text", "marks", "wanted"),
    [
        ("a b c", [], [("a b c", "")]),
        ("a b c", [("b", "cited")], [("a ", ""), ("b", "cited"), (" c", "")]),
        ("a\n b c", [("a b", "cited")], [("a\n b", "cited"), (" c", "")]),
        ("a b c", [("a b", "cited"), ("b c", "evidence")], [("a b", "cited"), (" c", "evidence")]),
        ("a b c", [("x", "cited"), ("", "cited"), (" ", "cited")], [("a b c", "")]),
        ("a.b", [(".", "cited")], [("a", ""), (".", "cited"), ("b", "")]),
        ("", [("a", "cited")], []),
    ],
)
def test_marks(text: str, marks: list[tuple[str, str]], wanted: list[tuple[str, str]]) -> None:
    assert [(piece.text, piece.mark) for piece in pieces(text, marks)] == wanted


@given(
    st.text("ab \n", max_size=20),
    st.lists(st.tuples(st.text("ab ", max_size=4), st.sampled_from(["cited", "evidence"]))),
)
def test_marks_lose_no_text(text: str, marks: list[tuple[str, str]]) -> None:
    found = pieces(text, marks)
    assert "".join(piece.text for piece in found) == text
    assert all(isinstance(piece, Piece) and piece.text for piece in found)


@given(st.lists(st.floats(0, 1)))
def test_a_histogram_counts_every_value(values: list[float]) -> None:
    page = Page(str(plots.histogram(values, "f1")))
    label = page.all("svg")[0].attributes["aria-label"]
    assert sum(int(number) for number in re.findall(r": (\d+)", label)) == len(values)


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 9), st.integers(0, 9)), max_size=5))
def test_a_drawing_stays_inside_its_frame(rows: list[tuple[float, int, int]]) -> None:
    bins = [Bin(low=0, high=1, mean=mean, right=Rate(count=min(count, n), n=n)) for mean, count, n in rows]
    for drawing in (plots.reliability(bins), plots.whisker(0.0, (0.0, 1.0), 1.0), plots.bar(1.0, (0.5, 1.0))):
        page = Page(str(drawing))
        wide, high = (float(page.all("svg")[0].attributes[name]) for name in ("width", "height"))
        for shape in page.all("circle"):
            assert 0 <= float(shape.attributes["cx"]) <= wide
            assert 0 <= float(shape.attributes["cy"]) <= high
        for line in page.all("line"):
            assert all(0 <= float(line.attributes[name]) <= wide for name in ("x1", "x2"))
            assert all(0 <= float(line.attributes[name]) <= high for name in ("y1", "y2"))


def test_the_table_of_the_calibration_says_what_the_diagram_shows() -> None:
    parts = page_of().all("section")
    section = next(part.text for part in parts if part.attributes.get("aria-labelledby") == "calibration")
    for bin_ in calibration(report_of().results):
        assert f"{bin_.low} to {bin_.high}{bin_.right.n}" in section


def contrast(one: str, other: str) -> float:
    """WCAG 2.2's contrast ratio of two colours, like #1b1f24."""

    def luminance(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("text", "backs"),
    [
        ("text", ("page", "card", "plain-back", "cited", "evidence")),
        ("soft", ("page", "card")),
        ("line", ("page", "card")),
        ("good", ("good-back",)),
        ("bad", ("bad-back",)),
    ],
)
def test_text_can_be_read_on_its_background(theme: int, text: str, backs: tuple[str, ...]) -> None:
    style = page_of().all("style")[0].text
    themes = [
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in re.findall(r":root \{(.*?)\}", style, re.S)
    ]
    for back in backs:
        assert contrast(themes[theme][text], themes[theme][back]) >= 4.5


def test_a_large_report_stays_small_and_quick_to_open() -> None:
    report = report_of()
    result = report.results[0]
    sent = tuple(replace(result.record.passages[0], number=number, text="word " * 240) for number in range(1, 6))
    many = tuple(
        replace(
            result,
            case=replace(result.case, id=f"c{number}"),
            record=replace(result.record, passages=sent, citations=(Cited(number=1, quote="word"),)),
        )
        for number in range(200)
    )
    html = report_html(replace(report, results=many))
    assert len(html.encode()) < 4_000_000
    assert all("open" not in item.attributes for item in Page(html).all("details", "item"))
