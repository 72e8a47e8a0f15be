from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from eval_support import TEXTS, EchoModel, memory_chat
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from eval.calibrate import (
    MAY_REFUSE,
    Tried,
    auc,
    calibrate,
    choose_threshold,
    fitted,
    judged_apart,
    refusal_figures,
    try_cases,
    usable,
)
from eval.errors import InputError
from eval.types import Case
from rag.abstention import ANSWER, MODEL, SEARCH
from rag.chat import RagChat
from rag.cli.main import app
from rag.confidence import STAGES, load_abstention, read_abstention
from rag.settings import Settings


def tried(number: int, answerable: bool, *, clusters: int = 10, told: bool = False, **changed: float) -> Tried:
    """A case whose sentence coverage tells, with some noise, whether it has an answer."""
    noise = np.random.default_rng(number).normal(0, 0.1)
    values = dict.fromkeys((*SEARCH, *ANSWER), 0.5) | {"sentence": (0.8 if answerable else 0.3) + float(noise)}
    values |= dict.fromkeys(MODEL, -1.0 + float(noise) if told else None) | changed  # type: ignore[arg-type]
    return Tried(
        id=f"{number}-{answerable}",
        kind="answerable" if answerable else "near_miss",
        cluster=f"c{number % clusters}",
        answerable=answerable,
        signals=MappingProxyType(values),
        refused=False,
    )


def many(count: int = 40, **changed: bool) -> list[Tried]:
    return [tried(number, answerable, **changed) for number in range(count) for answerable in (True, False)]  # type: ignore[arg-type]


def test_a_fit_finds_the_signal_that_tells_and_no_other() -> None:
    stage = fitted(many(), "answer")
    weights = {name: signal.weight for name, signal in stage.signals.items()}
    assert weights.pop("sentence") > 0.5
    assert set(weights.values()) == {0.0}


def test_a_calibration_gives_a_file_that_the_chat_reads() -> None:
    found = calibrate(many(told=True), {"cases": 80})
    assert found.stage == "model"
    assert tuple(found.abstention.stages) == tuple(STAGES)
    assert read_abstention(json.loads(json.dumps(found.abstention.as_json())), "made") == found.abstention
    assert found.auc["all"] == found.auc["near_miss"] > 0.95
    assert found.before.f1 == 0.0
    assert found.after.recall is not None
    assert found.after.recall > 0.8
    assert found.after.over_refusal is not None
    assert found.after.over_refusal <= 0.15


def test_without_likelihoods_there_is_no_stage_for_them() -> None:
    found = calibrate(many(), {})
    assert found.stage == "answer"
    assert "model" not in found.abstention.stages


def test_what_was_refused_early_counts_for_the_search_alone() -> None:
    cases = [*many(), *(replace(item, id=f"e{item.id}", early=True, refused=True) for item in many(5))]
    assert len(usable(cases, "search")) == 90
    assert len(usable(cases, "answer")) == 80
    assert usable(cases, "model") == []
    assert calibrate(cases, {}).before.over_refusal == pytest.approx(5 / 45)


def test_no_cluster_is_judged_by_weights_that_saw_it() -> None:
    """In each cluster another sign is right: weights that saw it would know, others do worse than chance."""
    cases = [
        replace(
            tried(number, answerable, clusters=10), signals=dict.fromkeys((*SEARCH, *ANSWER), 0.0) | {"focus": sign}
        )
        for number in range(100)
        for answerable in (True, False)
        for sign in [float(answerable == (number % 10 < 5))]
    ]
    held, _ = judged_apart(cases, "answer")
    answerable = np.array([item.answerable for item in cases])
    assert auc(held[answerable], held[~answerable]) < 0.6


@pytest.mark.parametrize(
    ("cases", "told"),
    [
        ([], "0 cases with an answer"),
        (many(10), "10 cases with an answer in 10 clusters"),
        ([item for item in many() if item.answerable], "0 cases without one"),
        ([replace(item, cluster="one") for item in many()], "in 1 clusters"),
        ([replace(item, early=not item.answerable) for item in many()], "0 cases without one"),
    ],
)
def test_too_few_cases_are_refused_with_what_is_needed(cases: list[Tried], told: str) -> None:
    with pytest.raises(InputError, match="rag eval derive") as raised:
        calibrate(cases, {})
    assert told in str(raised.value)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_a_threshold_never_refuses_more_answerable_questions_than_it_may(
    drawn: list[tuple[float, bool, bool]],
) -> None:
    cases = [
        replace(tried(number, answerable), refused=refused) for number, (_, answerable, refused) in enumerate(drawn)
    ]
    confidences = np.array([confidence for confidence, *_ in drawn])
    threshold = choose_threshold(cases, confidences)
    assert 0.0 <= threshold <= 1.0
    shown = np.array([item.answerable and not item.refused for item in cases])
    assert (shown & (confidences < threshold)).sum() <= MAY_REFUSE * shown.sum()
    refused = np.array([item.refused for item in cases])
    before = refusal_figures(cases, refused).f1 or 0.0
    assert (refusal_figures(cases, refused | (confidences < threshold)).f1 or 0.0) >= before


def test_figures_of_refusals() -> None:
    cases = [tried(0, True), tried(1, True), tried(2, False), tried(3, False)]
    figures = refusal_figures(cases, np.array([True, False, True, False]))
    assert (figures.precision, figures.recall, figures.f1, figures.over_refusal) == (0.5, 0.5, 0.5, 0.5)
    none = refusal_figures(cases[:2], np.array([False, False]))
    assert (none.precision, none.recall, none.f1, none.over_refusal) == (None, None, None, 0.0)


def test_cases_are_tried_with_the_chat_itself() -> None:
    cases = [
        Case(id="a", question=TEXTS[0], kind="answerable", cluster="x"),
        Case(id="h", question=TEXTS[0], kind="gold_removed", hidden=(TEXTS[0],)),
        Case(id="unknown", question="?"),
    ]
    model = EchoModel()
    seen: list[tuple[int, int]] = []
    found = try_cases(memory_chat(model), cases, lambda done, total: seen.append((done, total)))
    assert [(item.id, item.answerable, item.cluster) for item in found] == [("a", True, "x"), ("h", False, "h")]
    assert seen == [(0, 2), (1, 2), (2, 2)]
    answered, hidden = found
    assert answered.signals["coverage"] == 1.0
    assert (hidden.signals["coverage"] or 0.0) < 1.0
    assert not answered.refused


def test_a_question_refused_early_is_marked() -> None:
    never = memory_chat(EchoModel(), Settings(min_relevance=1.0, min_confidence=0.0))
    (found,) = try_cases(never, [Case(id="a", question="tungsten", kind="answerable")], lambda done, total: None)
    assert (found.early, found.refused) == (True, True)


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command on a scripted chat; what became of the cases is for the test to set."""

    @contextmanager
    def opened(settings: Settings) -> Iterator[RagChat]:
        assert settings.min_confidence == 0.0
        yield memory_chat(EchoModel(), settings)

    monkeypatch.setattr("rag.cli.parts.open_chat", opened)
    cases = tmp_path / "cases.jsonl"
    cases.write_text('{"id": "a", "question": "tungsten?", "kind": "far_ood"}\n', encoding="utf-8")
    return ["eval", "calibrate", str(cases), "--out", str(tmp_path / "deep" / "weights.json")]


def test_the_command_says_what_is_missing(command: list[str]) -> None:
    done = CliRunner().invoke(app, command)
    assert isinstance(done.exception, InputError)
    assert "0 cases with an answer" in str(done.exception)
    assert not Path(command[-1]).exists()


def test_the_command_writes_weights_and_prints_figures(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eval.calibrate.try_cases", lambda *_: many())
    done = CliRunner().invoke(app, [*command, "--json"])
    assert done.exit_code == 0, done.output
    shown = json.loads(done.stdout)
    assert shown["stage"] == "answer"
    assert shown["before"]["f1"] == 0.0
    assert load_abstention(command[-1]).fitted_on["cases"] == 80
    table = CliRunner().invoke(app, command)
    assert "| with | " in table.stdout
