"""A report as JUnit XML, which CI systems show: a suite of the gate's bounds and one of the cases.

The form is that of Apache Ant's junitreport, which every reader knows: ``testsuites`` > ``testsuite`` > ``testcase``
with counts as attributes. A bound that is not met is a failure, a case without an answer an error. A wrong answer is
neither: how many there may be is for the gate to say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from eval.figures import NO_KIND, outcome, unsupported
from eval.gate import Check
from eval.text import printable, shortened
from eval.types import CaseResult, Report


def report_junit(report: Report, checks: Sequence[Check] = ()) -> str:
    """The report as an XML document; times in seconds. Without a gate there is no suite of it."""
    suites = ([_suite("gate", [_bound(check) for check in checks])] if checks else []) + [
        _suite("cases", [_case(result) for result in report.results])
    ]
    root = Element("testsuites", {"name": "groundchat evaluation", **_counts(suites)})
    root.extend(suites)
    indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _suite(name: str, cases: Sequence[Element]) -> Element:
    tests = {
        "tests": str(len(cases)),
        "failures": str(sum(case.find("failure") is not None for case in cases)),
        "errors": str(sum(case.find("error") is not None for case in cases)),
        "skipped": "0",
        "time": f"{sum(float(case.get('time', '0')) for case in cases):.3f}",
    }
    suite = Element("testsuite", {"name": name, **tests})
    suite.extend(cases)
    return suite


def _counts(suites: Sequence[Element]) -> dict[str, str]:
    whole = {name: str(sum(int(suite.get(name, "0")) for suite in suites)) for name in ("tests", "failures", "errors")}
    return {**whole, "time": f"{sum(float(suite.get('time', '0')) for suite in suites):.3f}"}


def _bound(check: Check) -> Element:
    case = Element("testcase", {"classname": "gate", "name": printable(check.gate), "time": "0.000"})
    if not check.passed:
        failure = SubElement(case, "failure", {"message": shortened(check.why, 300), "type": "gate"})
        failure.text = printable(f"{check.gate}: {check.why}")
    return case


def _case(result: CaseResult) -> Element:
    taken = result.record.timings.get("total_ms", 0.0) / 1000
    case = Element(
        "testcase",
        {
            # A full stop would make folders of a kind in readers that take the class for a path of packages.
            "classname": f"cases.{printable(result.case.kind or NO_KIND).replace('.', '_')}",
            "name": printable(result.case.id),
            "time": f"{taken if math.isfinite(taken) and taken > 0 else 0.0:.3f}",
        },
    )
    if result.record.error:
        error = SubElement(case, "error", {"message": shortened(result.record.error, 300), "type": "no answer"})
        error.text = printable(result.record.error)
    SubElement(case, "system-out").text = _told(result)
    return case


def _told(result: CaseResult) -> str:
    scores = [f"{score.name}: {score.value:.3f}" for score in result.scores if score.value is not None]
    lines = [f"question: {printable(result.case.question)}", f"answer: {printable(result.record.answer)}"]
    lines += [f"outcome: {outcome(result)}"]
    lines += [f"claims: {len(result.claims)}, not supported: {unsupported(result)}"] if result.claims else []
    return "\n".join(lines + scores)
