"""Two runs of the same cases: better, worse or cannot tell, metric by metric, and which cases flipped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from eval.aggregate import Scores, clusters_of, columns_of, parts_of, rests_on_verifier, scores_of
from eval.errors import InputError
from eval.figures import improved
from eval.paired import Pair, change_interval, detectable, holm, least_p, paired_test
from eval.scores import LOWER_IS_BETTER, METRICS
from eval.statistics import Places, places
from eval.types import Case, CaseResult, Change, Comparison, Flip, MetricChange, Report

SIGNIFICANT = 0.05
"""A change counts when its p, corrected after Holm, is at most this, and its 95% interval leaves out 0."""

_HALF = 0.5
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Paired:
    """Two runs case by case: their scores, in the order of ``ids``, and the cluster of each case."""

    ids: tuple[str, ...]
    before: Scores
    after: Scores
    clusters: Places

    def pair(self, name: str) -> Pair:
        """A metric of both runs."""
        before, after = (columns_of(scores, self.clusters, name) for scores in (self.before, self.after))
        return Pair(before=before, after=after)


def pair_up(before: Report, after: Report, ids: Sequence[str]) -> Paired:
    """The cases of these ids, which both runs have; the clusters are those that the later run names."""
    old, new = by_id(before), by_id(after)
    first, second = [old[id_] for id_ in ids], [new[id_] for id_ in ids]
    return Paired(
        ids=tuple(ids),
        before=scores_of(first),
        after=scores_of(second),
        clusters=places(clusters_of(second)),
    )


def compare(before: Report, after: Report) -> Comparison:
    """What changed from one run to the next, over the cases that both have.

    A metric is better or worse when p of its paired test, corrected after Holm for all metrics compared, is at most
    0.05 and the interval of the change leaves out 0; otherwise the cases cannot tell. A case whose question or gold is
    another in the two runs is left out, and so are the metrics that rest on a verifier when different ones judged the
    runs; ``notes`` say so. Raises :class:`~eval.errors.InputError` when no case is left.
    """
    old, new = by_id(before), by_id(after)
    common = [id_ for id_ in old if id_ in new]
    if not common:
        raise InputError("the two runs have no case in common: compare runs of the same cases")
    same = [id_ for id_ in common if asked(old[id_].case) == asked(new[id_].case)]
    if not same:
        raise InputError(f"none of the {len(common)} ids in both runs is the same case: compare runs of the same cases")
    alike, judged_alike = set(same), same_judge(before, after)
    names = [
        name
        for name in METRICS
        if name in before.metrics and name in after.metrics and (judged_alike or not rests_on_verifier(name))
    ]
    paired = pair_up(before, after, same)
    notes = []
    if changed := [id_ for id_ in common if id_ not in alike]:
        notes.append(f"left out, because the two runs have another question or other gold for them: {shown(changed)}")
    if not judged_alike:
        notes.append(
            "left out, because the runs were judged by different verifiers "
            f"({before.facts.get('verifier', 'unknown')}; {after.facts.get('verifier', 'unknown')}): "
            + ", ".join(name for name in METRICS if rests_on_verifier(name))
        )
    return Comparison(
        changes=_corrected(paired, [_change(paired, name) for name in names]),
        flips=tuple(_flips(paired, names)),
        cases=len(same),
        only_before=tuple(id_ for id_ in old if id_ not in new),
        only_after=tuple(id_ for id_ in new if id_ not in old),
        notes=tuple(notes),
    )


def overall(comparison: Comparison) -> Change:
    """Better when some metrics are and none is worse, worse the other way round; else the cases cannot tell."""
    seen = {change.verdict for change in comparison.changes} - {"cannot tell"}
    return "better" if seen == {"better"} else "worse" if seen == {"worse"} else "cannot tell"


def differing(before: Report, after: Report) -> dict[str, tuple[object, object]]:
    """The facts in which two runs differ, by their dotted names; None stands for one that a run does not have."""
    old, new = _leaves(before.facts), _leaves(after.facts)
    return {name: (old.get(name), new.get(name)) for name in {**old, **new} if old.get(name) != new.get(name)}


def same_judge(before: Report, after: Report) -> bool:
    """Whether one verifier judged both runs; what it did not judge alike cannot be compared."""
    return before.facts.get("verifier") == after.facts.get("verifier")


def asked(case: Case) -> tuple[object, ...]:
    """What makes two cases of the same id the same: what was asked, and what is known about the answer."""
    return case.question, case.history, case.kind, case.answers, case.gold_docs, case.gold_quotes


def shown(ids: Sequence[str]) -> str:
    """A few of the ids, and how many more there are."""
    more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
    return ", ".join(map(repr, ids[:_SHOWN])) + more


def by_id(report: Report) -> dict[str, CaseResult]:
    """The results of a run by the ids of their cases, in order."""
    return {result.case.id: result for result in report.results}


def _leaves(facts: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in facts.items():
        found |= _leaves(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found


def _change(paired: Paired, name: str) -> MetricChange:
    """The change of a metric, before p is corrected."""
    pair = paired.pair(name)
    found = MetricChange(
        name=name,
        before=pair.before.value,
        after=pair.after.value,
        change=pair.change,
        ci95=None,
        n=pair.both,
        test="",
        p=None,
        p_holm=None,
        detectable=None,
        verdict="cannot tell",
        n_before=int(pair.before.applies.sum()),
        n_after=int(pair.after.applies.sum()),
    )
    if found.change is None:
        return found
    test, p = paired_test(pair)
    return replace(found, ci95=change_interval(pair), test=test, p=p, detectable=detectable(pair))


def _corrected(paired: Paired, changes: Sequence[MetricChange]) -> tuple[MetricChange, ...]:
    """Holm's correction among the metrics that could show a change at all: one in which too few clusters differ for any
    p of 0.05 cannot raise a false alarm, so it does not count as one more try (Tarone 1990)."""
    tried = {
        change.name: change.p
        for change in changes
        if change.p is not None and least_p(paired.pair(change.name)) <= SIGNIFICANT
    }
    corrected = {change.name: change.p for change in changes if change.p is not None} | holm(tried)
    return tuple(
        replace(change, p_holm=corrected[change.name], verdict=_verdict(change, corrected[change.name]))
        if change.name in corrected
        else change
        for change in changes
    )


def _verdict(change: MetricChange, p: float) -> Change:
    if change.ci95 is None or p > SIGNIFICANT or change.ci95[0] <= 0 <= change.ci95[1]:
        return "cannot tell"
    return "better" if (change.ci95[0] > 0) != (change.name in LOWER_IS_BETTER) else "worse"


def _flips(paired: Paired, names: Sequence[str]) -> list[Flip]:
    """Case by case, those that got worse in some metric first."""
    own = [name for name in names if parts_of(name) == (name,)]
    cases = [_case_flips(paired, place, own) for place in range(len(paired.ids))]
    cases.sort(key=lambda flips: all(map(improved, flips)))
    return [flip for flips in cases for flip in flips]


def _case_flips(paired: Paired, place: int, names: Sequence[str]) -> list[Flip]:
    found = []
    for name in names:
        before, after = paired.before[name][place].value, paired.after[name][place].value
        if before is not None and after is not None and (before >= _HALF) != (after >= _HALF):
            found.append(Flip(id=paired.ids[place], metric=name, before=before, after=after))
    return found
