"""Answers -> a report, what became of the gate's bounds, and what changed since a baseline; and their files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.aggregate import make_report
from eval.compare import compare
from eval.folder import unwritable, write_whole
from eval.gate import Check, Gate, check_baseline, check_gate, read_gate
from eval.html import report_html
from eval.junit import report_junit
from eval.report import report_json, report_markdown
from eval.saved import read_report
from eval.scores import score_cases
from eval.types import Case, Comparison, Record, Report
from rag.grounding import Verifier
from rag.settings import Settings
from rag.verifiers import open_verifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """``checks`` are the gate's bounds, none without a gate; ``comparison`` is None without a baseline."""

    report: Report
    checks: tuple[Check, ...] = ()
    comparison: Comparison | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """What answers are judged by: a verifier, a gate, and the report of an earlier run."""

    verifier: Verifier
    gate: Gate | None = None
    baseline: Report | None = None

    @classmethod
    def open(cls, judge: str, gate: Path | None, baseline: Path | None, settings: Settings | None = None) -> Judging:
        """Read everything before a model works for hours; raises :class:`rag.errors.RagError` for what cannot be used.

        ``judge``: a specification of :func:`rag.verifiers.open_verifier`; ``settings`` say how a model runs.
        """
        verifier = open_verifier(judge, settings)
        return cls(
            verifier=verifier,
            gate=read_gate(gate, _accuracy(verifier)) if gate else None,
            baseline=read_report(baseline) if baseline else None,
        )

    def check(self, cases: Sequence[Case]) -> None:
        """Whether the baseline is of these cases, where the gate needs one: better known before they are answered.

        Raises :class:`~eval.errors.GateError` when it is missing, or is of other cases.
        """
        if self.gate:
            check_baseline(self.gate, self.baseline, cases)

    def judge(self, cases: Sequence[Case], records: Iterable[Record], facts: Mapping[str, object]) -> Judged:
        """Score the answers of all cases; the report's facts also say who judged, and how well that does."""
        accuracy = _accuracy(self.verifier)
        known = "not measured" if accuracy is None else f"{accuracy:.3f} on labelled claims it was not fitted on"
        judged_by = {
            "verifier": f"{self.verifier.name} verifier, balanced accuracy {known}",
            "judge": {"name": self.verifier.name, "balanced_accuracy": accuracy},
        }
        by_id = {record.id: record for record in records}
        report = make_report(score_cases(cases, by_id, self.verifier), {**facts, **judged_by})
        return Judged(
            report=report,
            checks=check_gate(self.gate, report, self.baseline) if self.gate else (),
            comparison=compare(self.baseline, report) if self.baseline else None,
        )


def write_reports(out: Path, judged: Judged) -> Path:
    """Write summary.md, report.html, junit.xml and report.json into a folder; returns the path of the page.

    Each file is the old one or the new one, whole, whenever this is killed; report.json is the last. Raises
    :class:`~eval.errors.InputError` when the folder cannot be written.
    """
    report, checks, comparison = judged.report, judged.checks, judged.comparison
    data = report_json(report, checks, comparison)
    files = {
        "summary.md": report_markdown(report, checks, comparison),
        "report.html": report_html(report, checks, comparison),
        "junit.xml": report_junit(report, checks),
        "report.json": json.dumps(data, ensure_ascii=False, allow_nan=False, indent=1) + "\n",
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            write_whole(out / name, text.encode("utf-8", "backslashreplace").decode("utf-8"))
    except OSError as error:
        raise unwritable(out, error) from error
    return out / "report.html"


def _accuracy(verifier: Verifier) -> float | None:
    return verifier.measured["balanced_accuracy"] if verifier.measured else None
