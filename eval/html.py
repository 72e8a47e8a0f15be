"""A report as one HTML page that needs nothing else: no request leaves it, and no text of a case becomes markup.

Style and script stand in the page, allowed by their hashes alone (Content-Security-Policy), so that even markup that
should slip through an escape could neither run nor load anything. Without JavaScript all of it can be read.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from eval import plots
from eval.aggregate import rests_on_verifier
from eval.attribution import attribution
from eval.compare import overall
from eval.figures import (
    FAILURES,
    NO_KIND,
    Outcome,
    Rate,
    calibration,
    costs,
    fails,
    flips_by_case,
    improved,
    judge_of,
    outcome,
    strata,
    supported_rate,
    unsupported,
    value_of,
)
from eval.gate import Check
from eval.report import strict_json
from eval.scores import LOWER_IS_BETTER, describe
from eval.text import printable
from eval.types import CaseResult, Comparison, Flip, Report
from rag.types import Passage

if TYPE_CHECKING:
    from jinja2 import Template

_NUMBER = re.compile(r"(\[\s*\d+(?:\s*[,;]\s*\d+)*\s*\])")
_GOOD: frozenset[Outcome] = frozenset({"right", "rightly refused"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A stretch of a passage; ``mark`` is "cited", "evidence" (of a claim) or empty."""

    text: str
    mark: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A passage of an item: its anchor, its text in pieces, and whether it is cited and holds gold."""

    passage: Passage
    anchor: str
    pieces: tuple[Piece, ...]
    cited: bool
    gold: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A case as the page shows it. ``answer`` is in pairs: text, and the anchor of the passage it cites (or empty)."""

    result: CaseResult
    anchor: str
    outcome: Outcome
    tone: str
    unsupported: int
    flips: tuple[Flip, ...]
    answer: tuple[tuple[str, str], ...]
    passages: tuple[Sent, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Items under a heading."""

    title: str
    items: tuple[Item, ...]


def report_html(report: Report, checks: Sequence[Check] = (), comparison: Comparison | None = None) -> str:
    """The page as a document in UTF-8; characters that cannot be shown become U+FFFD."""
    groups = _groups(report, comparison)
    style, script = _file("report.css"), _file("report.js")
    return _template().render(
        report=report,
        checks=sorted(checks, key=lambda check: check.passed),
        comparison=comparison,
        overall=overall(comparison) if comparison else "",
        groups=groups,
        judge=judge_of(report),
        judged={name for name in report.metrics if rests_on_verifier(name)},
        lower=LOWER_IS_BETTER,
        meanings={row.name: row.meaning for row in describe()},
        before={change.name: change.before for change in comparison.changes} if comparison else {},
        strata=strata(report),
        attribution=attribution(report.results),
        distributions=_distributions(report),
        claims=[claim.p_supported for result in report.results for claim in result.claims],
        supported=supported_rate(report.results),
        bins=calibration(report.results),
        costs=costs(report.results),
        facts=json.dumps(strict_json(report.facts), ensure_ascii=False, indent=2),
        kinds=list(dict.fromkeys(result.case.kind or NO_KIND for result in report.results)),
        outcomes=list(dict.fromkeys(item.outcome for group in groups for item in group.items)),
        plots=plots,
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
        rate=lambda count, n: Rate(count=count, n=n),
        improved=improved,
    )


def anchor_of(id_: str) -> str:
    """The id of a case's element, which is also the fragment that links to it; no two cases have the same."""
    return "case-" + quote(id_, safe="", errors="surrogatepass")


def _groups(report: Report, comparison: Comparison | None) -> tuple[Group, ...]:
    """What flipped first, worse before better; then what fails; then the rest. Every case stands in one of them."""
    flips = flips_by_case(comparison)
    items = {result.case.id: _item(result, flips.get(result.case.id, ())) for result in report.results}
    flipped = [items[id_] for id_ in flips if id_ in items]
    others = [item for item in items.values() if not item.flips]
    groups = (
        ("Flipped against the baseline", flipped),
        (
            "To look at: no answer, a wrong decision, an unsupported claim, an invalid citation",
            [item for item in others if fails(item.result)],
        ),
        ("The rest", [item for item in others if not fails(item.result)]),
    )
    return tuple(Group(title=title, items=tuple(found)) for title, found in groups if found)


def _item(result: CaseResult, flips: tuple[Flip, ...]) -> Item:
    anchor, became = anchor_of(result.case.id), outcome(result)
    numbers = {passage.number for passage in result.record.passages}
    return Item(
        result=result,
        anchor=anchor,
        outcome=became,
        tone="bad" if became in FAILURES else "good" if became in _GOOD else "plain",
        unsupported=unsupported(result),
        flips=flips,
        answer=tuple(_linked(result.record.answer, anchor, numbers)),
        passages=tuple(_sent(result, passage, anchor) for passage in result.record.passages),
    )


def _linked(answer: str, anchor: str, numbers: set[int]) -> Iterable[tuple[str, str]]:
    for piece in _NUMBER.split(answer):
        found = re.findall(r"\d+", piece) if _NUMBER.fullmatch(piece) else []
        if len(found) == 1 and len(found[0]) < 10 and int(found[0]) in numbers:
            yield piece, f"{anchor}-p{int(found[0])}"
        elif piece:
            yield piece, ""


def _sent(result: CaseResult, passage: Passage, anchor: str) -> Sent:
    quotes = [cited.quote for cited in result.record.citations if cited.number == passage.number]
    subject = " ".join(passage.headings) + ": "  # a verifier may put it before what it judged
    judged = [claim.evidence.removeprefix(subject) for claim in result.claims if claim.passage == passage.number]
    marks = [(quote_, "cited") for quote_ in quotes] + [(evidence, "evidence") for evidence in judged]
    golds = [" ".join(text.split()) for text in result.case.gold_quotes]
    text = " ".join(passage.text.split())
    return Sent(
        passage=passage,
        anchor=f"{anchor}-p{passage.number}",
        pieces=pieces(passage.text, marks),
        cited=bool(quotes) or any(passage.number in claim.numbers for claim in result.claims),
        gold=any(gold in text for gold in golds) if golds else passage.source in result.case.gold_docs,
    )


def pieces(text: str, marks: Sequence[tuple[str, str]]) -> tuple[Piece, ...]:
    """The text cut at the stretches to be marked, white space aside; where two meet, the earlier mark counts."""
    marked = [""] * len(text)
    for wanted, mark in marks:
        words = wanted.split()
        found = re.search(r"\s+".join(map(re.escape, words)), text) if words else None
        for place in range(*found.span()) if found else ():
            marked[place] = marked[place] or mark
    cuts = [0, *(at for at in range(1, len(text)) if marked[at] != marked[at - 1]), len(text)]
    return tuple(Piece(text=text[start:end], mark=marked[start]) for start, end in pairwise(cuts) if end > start)


def _distributions(report: Report) -> list[tuple[str, list[float]]]:
    """The scores of groundedness, and of the metrics with values between 0 and 1; the others are rates, and told."""
    found = [
        (name, [value for result in report.results if (value := value_of(result, name)) is not None])
        for name in report.metrics
    ]
    return [
        (name, values)
        for name, values in found
        if any(0 < value < 1 for value in values) or (values and name == "groundedness")
    ]


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    def shown(value: Any) -> Any:
        """What stands in the page: text without characters that cannot be shown; markup is ours already."""
        return printable(value) if isinstance(value, str) and not hasattr(value, "__html__") else value

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=shown
    )
    environment.filters["number"] = lambda value: "–" if value is None else f"{value:.3f}"
    environment.filters["interval"] = lambda ci95: "–" if ci95 is None else f"{ci95[0]:.3f} to {ci95[1]:.3f}"
    return environment.from_string(_file("report.html"))


def _file(name: str) -> str:
    return resources.files("eval").joinpath(f"templates/{name}").read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """What a Content-Security-Policy calls the text of a style or script element."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
