"""Confidence, fitted to cases of one's own: which questions do these documents answer, with this model?

Every case is answered with the late decision switched off, and the signals of each answer (:mod:`rag.abstention`) go
into one logistic regression a stage. Figures are out of fold: the cases of a cluster are never judged by weights or a
threshold that saw another case of the cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from eval.errors import InputError
from eval.hiding import without
from eval.run import forget
from eval.types import Case
from rag.abstention import MODEL, Signals
from rag.chat import RagChat
from rag.confidence import STAGES, Abstention, SignalWeight, Stage, StageName
from rag.errors import USER_ERRORS

MAY_REFUSE = 0.05
"""Share of the answerable questions that are answered without the late decision, which it may refuse at most."""
LEAST = 20
"""Cases with an answer, and as many without one, that a fit needs."""
FOLDS = 5
STRENGTH = 0.1
"""The inverse of the ridge penalty on the weights of standardised signals: strong, for the cases are few."""

Flags = np.ndarray[Any, np.dtype[np.bool_]]
Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A case and what became of it without the late decision.

    ``early``: refused before the model was asked. ``declined``: the model's own words were a refusal.
    """

    id: str
    kind: str
    cluster: str
    answerable: bool
    signals: Signals
    refused: bool
    early: bool = False
    declined: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalFigures:
    """Refusals counted, each share from 0 to 1; None where there is nothing to divide by.

    Precision: of the refusals, those of questions without an answer. Recall: of those questions, the refused. F1: their
    harmonic mean. Over-refusal: of the answerable questions, the refused.
    """

    precision: float | None
    recall: float | None
    f1: float | None
    over_refusal: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Weights, and how they did out of fold on the cases that they were fitted to.

    ``stage``: the richest one, which the figures are of. ``auc`` (0.5 is chance): answerable cases against each kind of
    others, "all" of them together. ``before`` and ``after``: without and with the late decision.
    """

    abstention: Abstention
    stage: StageName
    auc: Mapping[str, float]
    before: RefusalFigures
    after: RefusalFigures


def try_cases(chat: RagChat, cases: Sequence[Case], progress: Callable[[int, int], None]) -> list[Tried]:
    """Answer every case that says whether it has an answer; those that cannot be asked are left out.

    ``chat`` must have ``min_confidence`` 0, so that the late decision hides nothing.
    """
    known = [case for case in cases if case.answerable is not None]
    found = []
    for done, case in enumerate(known):
        progress(done, len(known))
        try:
            found.append(try_case(chat, case))
        except USER_ERRORS:
            continue
    progress(len(known), len(known))
    return found


def try_case(chat: RagChat, case: Case) -> Tried:
    """Answer one case that says whether it has an answer. Raises :data:`rag.errors.USER_ERRORS`."""
    asked = copy(chat)
    asked.retriever = without(chat.retriever, case.hidden)
    forget(chat.model)
    answer = asked.ask(case.question, case.history)
    return Tried(
        id=case.id,
        kind=case.kind or ("answerable" if case.answerable else "unanswerable"),
        cluster=case.cluster or case.id,
        answerable=bool(case.answerable),
        signals=answer.signals,
        refused=answer.refused,
        early=answer.prompt is None,
        declined=bool(answer.signals.get("declined")),
    )


def calibrate(tried: Sequence[Tried], fitted_on: Mapping[str, Any]) -> Calibration:
    """Fit every stage that there are signals for. ``fitted_on`` goes into the file, for people.

    Raises :class:`InputError` when there are too few cases or clusters.
    """
    check(tried)
    stages: dict[StageName, Stage] = {}
    for name in STAGES:
        used = usable(tried, name)
        if name != "model" or used:
            check(used)
            stages[name] = fitted(used, name)
    best = list(stages)[-1]
    held, doubted = judged_apart(usable(tried, best), best)
    late = dict(zip((item.id for item in usable(tried, best)), zip(held, doubted, strict=True), strict=True))
    before = np.array([item.refused for item in tried])
    after = np.array([item.refused or bool(late.get(item.id, (0, False))[1]) for item in tried])
    return Calibration(
        abstention=Abstention(fitted_on=fitted_on, stages=stages),
        stage=best,
        auc=dict(_areas(usable(tried, best), held)),
        before=refusal_figures(tried, before),
        after=refusal_figures(tried, after),
    )


def check(tried: Sequence[Tried]) -> None:
    """Raises :class:`InputError` when there are too few cases to fit and to judge apart."""
    for answerable, what in ((True, "with an answer"), (False, "without one")):
        chosen = [item for item in tried if item.answerable == answerable]
        clusters = len({item.cluster for item in chosen})
        if len(chosen) < LEAST or clusters < FOLDS:
            raise InputError(
                f"there are {len(chosen)} cases {what} in {clusters} clusters whose answer can be weighed: "
                f"a calibration needs {LEAST} in {FOLDS} of either sort ('rag eval derive' makes cases without one)"
            )


def usable(tried: Sequence[Tried], name: StageName) -> list[Tried]:
    """The cases that a stage decides on: all for "search", else those that the model was asked. None at all where the
    model does not tell likelihoods."""
    asked = [item for item in tried if name == "search" or not item.early]
    if name == "model" and any(item.signals.get(signal) is None for item in asked for signal in MODEL):
        return []
    return asked


def fitted(tried: Sequence[Tried], name: StageName) -> Stage:
    """The stage with its threshold, which is chosen on confidences out of fold."""
    held = np.empty(len(tried))
    for rest, part in _folds(tried):
        held[part] = _confidences(_weights([tried[at] for at in rest], name), [tried[at] for at in part])
    return replace(_weights(tried, name), threshold=choose_threshold(tried, held))


def judged_apart(tried: Sequence[Tried], name: StageName) -> tuple[Floats, Flags]:
    """(confidence, whether the late decision refuses) of each case, by a stage that saw no case of its cluster."""
    held, doubted = np.empty(len(tried)), np.zeros(len(tried), dtype=np.bool_)
    for rest, part in _folds(tried):
        stage = fitted([tried[at] for at in rest], name)
        held[part] = _confidences(stage, [tried[at] for at in part])
        doubted[part] = held[part] < stage.threshold
    return held, doubted


def choose_threshold(tried: Sequence[Tried], confidences: Floats) -> float:
    """The threshold with the best F1 of all refusals, among those that refuse at most :data:`MAY_REFUSE` of the
    answerable questions that are answered without it; the lowest of equals, rounded to 3 places."""
    answered = np.array([item.answerable and not item.refused for item in tried])
    refused = np.array([item.refused for item in tried])
    best = (refusal_figures(tried, refused).f1 or 0.0, 0.0)
    for threshold in np.unique(confidences.round(3) + 0.001):
        doubted = confidences < threshold
        if (doubted & answered).sum() > MAY_REFUSE * answered.sum():
            break
        if ((f1 := refusal_figures(tried, refused | doubted).f1) or 0.0) > best[0]:
            best = (f1 or 0.0, float(threshold))
    return min(1.0, round(best[1], 3))


def refusal_figures(tried: Sequence[Tried], refused: Flags) -> RefusalFigures:
    """Precision, recall, F1 and over-refusal of these decisions."""
    wanted = np.array([not item.answerable for item in tried], dtype=np.bool_)
    right, wrong, missed = (int(flags.sum()) for flags in (refused & wanted, refused & ~wanted, wanted & ~refused))
    return RefusalFigures(
        precision=_share(right, right + wrong),
        recall=_share(right, right + missed),
        f1=_share(2 * right, 2 * right + wrong + missed),
        over_refusal=_share(wrong, int((~wanted).sum())),
    )


def auc(higher: Floats, lower: Floats) -> float:
    """Probability that one of the first is greater than one of the second; ties count half."""
    return float((higher[:, None] > lower[None]).mean() + 0.5 * (higher[:, None] == lower[None]).mean())


def _areas(tried: Sequence[Tried], held: Floats) -> Iterator[tuple[str, float]]:
    kinds = np.array([item.kind for item in tried])
    answerable = np.array([item.answerable for item in tried])
    yield "all", auc(held[answerable], held[~answerable])
    for kind in dict.fromkeys(kinds[~answerable].tolist()):
        yield kind, auc(held[answerable], held[~answerable & (kinds == kind)])


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _folds(tried: Sequence[Tried]) -> Iterator[tuple[list[int], list[int]]]:
    """(places of the rest, places of a part): no cluster in both, answerable cases and others spread alike."""
    from sklearn.model_selection import StratifiedGroupKFold

    answerable = [item.answerable for item in tried]
    clusters = [item.cluster for item in tried]
    count = min(FOLDS, len({c for c, a in zip(clusters, answerable, strict=True) if a}))
    folds = StratifiedGroupKFold(n_splits=max(2, count), shuffle=True, random_state=0)
    for rest, part in folds.split(np.zeros((len(tried), 1)), answerable, clusters):
        yield rest.tolist(), part.tolist()


def _weights(tried: Sequence[Tried], name: StageName) -> Stage:
    from sklearn.linear_model import LogisticRegression

    answerable = np.array([item.answerable for item in tried])
    if answerable.all() or not answerable.any():
        raise InputError("a part of the clusters has only cases of one sort: spread answerable cases and others better")
    names = STAGES[name]
    table = np.array([[item.signals.get(signal) for signal in names] for item in tried], dtype=np.float64)
    known = ~np.isnan(table)
    counts = known.sum(axis=0).clip(min=1)
    means = np.where(known, table, 0.0).sum(axis=0) / counts
    apart = np.where(known, table - means, 0.0)
    scales = np.sqrt((apart**2).sum(axis=0) / counts)
    scales = np.where(scales > 1e-9, scales, 1.0)
    model = LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=1000).fit(apart / scales, answerable)
    weights = zip(names, means, scales, model.coef_[0], strict=True)
    return Stage(
        intercept=round(float(model.intercept_[0]), 4),
        threshold=0.0,
        signals={
            signal: SignalWeight(
                mean=round(float(mean), 4), scale=float(f"{scale:.4g}"), weight=round(float(weight), 4)
            )
            for signal, mean, scale, weight in weights
        },
    )


def _confidences(stage: Stage, tried: Sequence[Tried]) -> Floats:
    return np.array([stage.confidence(item.signals) for item in tried])
