"""The JUnit file: counts that a CI system can trust, and well-formed whatever the texts hold."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_support import HOSTILE, report_of

from eval.gate import Check
from eval.junit import report_junit
from eval.text import printable

CHECKS = (
    Check(gate="floor f1", passed=True, why="fine"),
    Check(gate="invariant errors", passed=False, why=f"1, must be 0 {HOSTILE}"),
)


def parsed(xml: str) -> ElementTree.Element:
    return ElementTree.fromstring(xml.encode("utf-8"))


def test_a_bound_is_a_test_and_so_is_a_case() -> None:
    root = parsed(report_junit(report_of(), CHECKS))
    assert root.tag == "testsuites"
    assert [suite.get("name") for suite in root] == ["gate", "cases"]
    gate, cases = root
    assert {case.get("name"): case.find("failure") is not None for case in gate} == {
        "floor f1": False,
        "invariant errors": True,
    }
    assert [case.get("name") for case in cases if case.find("error") is not None] == ["broken"]
    assert "must be 0" in (gate[1].findtext("failure") or "")
    assert "question: How many?" in (cases[0].findtext("system-out") or "")


def test_without_a_gate_there_is_no_suite_of_it() -> None:
    assert [suite.get("name") for suite in parsed(report_junit(report_of()))] == ["cases"]


@pytest.mark.parametrize("text", ["plain", HOSTILE])
def test_counts_are_those_of_what_is_there(text: str) -> None:
    root = parsed(report_junit(report_of(text), CHECKS))
    for name, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error")):
        for suite in root:
            assert int(suite.get(name, "-1")) == len(list(suite.iter(tag)))
        assert int(root.get(name, "-1")) == len(list(root.iter(tag)))
    for case in root.iter("testcase"):
        assert case.get("classname")
        assert float(case.get("time", "-1")) >= 0
        assert len(case.findall("failure")) + len(case.findall("error")) <= 1


@settings(max_examples=30, deadline=None)
@given(st.text(st.characters(), min_size=1).filter(str.strip))
def test_any_text_is_well_formed_and_kept(text: str) -> None:
    root = parsed(report_junit(report_of(text), (Check(gate=text, passed=False, why=text),)))
    assert root[0][0].findtext("failure") == printable(f"{text}: {text}")
    assert root[1][1].get("name") == printable(f"wrong {text}")
    assert (root[1][1].findtext("system-out") or "").startswith(f"question: How many? {printable(text)}\n")
