"""A comparison as one JSON object for programs and as Markdown for people: what flipped comes first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from eval.compare import differing, overall
from eval.figures import flips_by_case, improved
from eval.scores import LOWER_IS_BETTER
from eval.tables import number, span, table
from eval.text import cell
from eval.types import Change, Comparison, Flip, MetricChange, Report

LISTED = 20
"""Cases of a sort (flipped, without a partner, without an answer) that Markdown names; JSON has them all."""

_VERDICTS: tuple[Change, ...] = ("worse", "better", "cannot tell")


def comparison_json(comparison: Comparison, before: Report, after: Report) -> dict[str, Any]:
    """The comparison, what it comes to, and the facts in which the runs differ, each as [before, after]."""
    return {
        "verdict": overall(comparison),
        **{verdict.replace(" ", "_"): _names(comparison, verdict) for verdict in _VERDICTS},
        **asdict(comparison),
        "differing_facts": {name: list(values) for name, values in differing(before, after).items()},
    }


def comparison_markdown(comparison: Comparison, before: Report, after: Report) -> str:
    """The verdict, what flipped, every metric, and what was left out."""
    lines = [f"# {overall(comparison).capitalize()}: {comparison.cases} cases in both runs", ""]
    for verdict in _VERDICTS:
        if names := _names(comparison, verdict):
            lines += [f"- {verdict}: {', '.join(names)}"]
    lines += ["", *flipped_lines(comparison, after), *change_lines(comparison.changes), *_differing(before, after)]
    lines += [f"- {cell(note, 400)}" for note in comparison.notes]
    for where, ids in (("before", comparison.only_before), ("after", comparison.only_after)):
        if ids:
            named = ", ".join(cell(id_, 60) for id_ in ids[:LISTED])
            lines += [f"- only {where}: {named}{_more(len(ids))}"]
    return "\n".join(lines).rstrip("\n") + "\n"


def _names(comparison: Comparison, verdict: Change) -> list[str]:
    return [change.name for change in comparison.changes if change.verdict == verdict]


def flipped_lines(comparison: Comparison, after: Report) -> list[str]:
    """Which cases flipped, how, and what they ask."""
    flipped = flips_by_case(comparison)
    if not flipped:
        return ["No case flipped.", ""]
    questions = {result.case.id: result.case.question for result in after.results}
    rows = [
        (cell(id_, 60), _moves(flips), cell(questions.get(id_, ""), 80))
        for id_, flips in list(flipped.items())[:LISTED]
    ]
    head = f"{len(flipped)} cases flipped{_more(len(flipped), ' (listed: {})')}."
    return [head, "", *table(("case", "what flipped", "question"), "<<<", rows)]


def _moves(flips: Sequence[Flip]) -> str:
    """What got worse, then what got better, with the values before and after."""
    sides = (("worse", False), ("better", True))
    moves = {word: [flip for flip in flips if improved(flip) is better] for word, better in sides}
    return "; ".join(
        f"{word}: " + ", ".join(f"{flip.metric} {flip.before:.2g} → {flip.after:.2g}" for flip in found)
        for word, found in moves.items()
        if found
    )


def _more(found: int, text: str = "") -> str:
    if found <= LISTED:
        return ""
    return text.format(LISTED) if text else f" and {found - LISTED} more"


def change_lines(changes: Sequence[MetricChange]) -> list[str]:
    """The changes of metrics that apply to some case, and how to read them."""
    shown = [change for change in changes if change.n_before or change.n_after]
    if not shown:
        return []
    header = ("metric", "before", "after", "change, 95% interval", "p", "p (Holm)", "detectable", "cases", "verdict")
    return [
        *table(header, "<>><>>><<", [_row(change) for change in shown]),
        "Lower is better (v). p: of a paired test (--json names it), then corrected for so many metrics. Detectable: "
        "the smallest change that these cases would show four times of five. Cases: how many a metric applies to "
        "before, after, and in both.",
        "",
    ]


def _row(change: MetricChange) -> tuple[str, ...]:
    mark = " v" if change.name in LOWER_IS_BETTER else ""
    return (
        change.name + mark,
        number(change.before),
        number(change.after),
        "-" if change.change is None else f"{change.change:+.3f}, {span(change.ci95, '+')}",
        number(change.p, 4),
        number(change.p_holm, 4),
        number(change.detectable),
        f"{change.n_before}, {change.n_after}, {change.n}",
        change.verdict,
    )


def _differing(before: Report, after: Report) -> list[str]:
    found = differing(before, after)
    if not found:
        return []
    rows = [(cell(name, 60), cell(str(old)), cell(str(new))) for name, (old, new) in found.items()]
    return table(("what differs", "before", "after"), "<<<", rows)
