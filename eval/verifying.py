"""How well a verifier judges claims that people have labelled: what it is worth, before anything rests on it.

The unit is the cluster (the page that a claim was made from): errors about one page hang together.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eval.errors import InputError
from eval.jsonl import read_rows, unique
from eval.statistics import Columns, Floats, interval, places
from rag.grounding import LABELS, Label, Verdict, Verifier, verify_pairs

FEWEST = 30
"""Claims that people found supported, and claims that they did not, below which a measurement is not kept."""
_BATCH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledClaim:
    """A claim and its evidence; ``label`` is what people found, None where that is not known."""

    id: str
    claim: str
    evidence: str
    label: Label | None
    cluster: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A claim, what the verifier said of it, and the milliseconds that it took."""

    claim: LabelledClaim
    verdict: Verdict
    ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Of n labelled claims in so many clusters. ``balanced_accuracy`` is the mean of the shares of the supported and of
    the other claims that were told rightly, with its 95% interval; ``auc`` the chance that a supported claim gets the
    higher probability than another (Hanley & McNeil 1982); ``recall`` by label; ``ms`` a pair.
    """

    n: int
    clusters: int
    balanced_accuracy: float
    ci95: tuple[float, float]
    auc: float
    recall: Mapping[Label, float | None]
    ms: float

    def figures(self) -> dict[str, float]:
        """What is kept of it for :attr:`rag.grounding.Verifier.measured`."""
        recalls = {f"recall_{label}": value for label, value in self.recall.items() if value is not None}
        rounded = {"balanced_accuracy": self.balanced_accuracy, "auc": self.auc, **recalls, "ms": self.ms}
        return {name: round(value, 4) for name, value in rounded.items()} | {"n": self.n}


def read_claims(path: Path) -> tuple[LabelledClaim, ...]:
    """The claims of a JSONL file: ``{"id", "claim", "evidence"}`` a line, and ``label`` and ``cluster`` where they are
    known (without a cluster, a claim is one of its own). Raises :class:`InputError`.
    """
    found = []
    for id_, row in unique(read_rows(path)).items():
        label: Label | None = None
        if row.data.get("label") is not None:
            given = row.text("label")
            label = next((known for known in LABELS if known == given), None)
            if label is None:
                raise row.wrong("label", f"one of {', '.join(LABELS)}")
        cluster = row.text("cluster", "") or f"claim {id_}"
        claim, evidence = row.name("claim"), row.text("evidence")
        found.append(LabelledClaim(id=id_, claim=claim, evidence=evidence, label=label, cluster=cluster))
    return tuple(found)


def claims_digest(path: Path) -> str:
    """What names a file of claims: 16 hex digits of its content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def judge_claims(
    claims: Sequence[LabelledClaim], verifier: Verifier, on_batch: Callable[[int, int], None] | None = None
) -> Iterator[Judged]:
    """Each claim with its verdict, in order; a verifier that takes batches gets them. ``on_batch``: done, all."""
    for start in range(0, len(claims), _BATCH):
        batch = claims[start : start + _BATCH]
        began = time.perf_counter()
        verdicts = verify_pairs(verifier, [(claim.claim, claim.evidence, "") for claim in batch])
        ms = 1000 * (time.perf_counter() - began) / len(batch)
        yield from (Judged(claim=claim, verdict=verdict, ms=ms) for claim, verdict in zip(batch, verdicts, strict=True))
        if on_batch:
            on_batch(start + len(batch), len(claims))


def measure(judged: Sequence[Judged]) -> Measurement | None:
    """The figures over the claims that have a label; None unless some are supported and some are not."""
    known = [one for one in judged if one.claim.label is not None]
    truth = np.array([one.claim.label == "supported" for one in known], dtype=bool)
    if not truth.any() or truth.all():
        return None
    said = np.array([one.verdict.label == "supported" for one in known])
    chance = np.array([one.verdict.p_supported for one in known])
    sides = np.array([truth, ~truth], dtype=float)
    clusters = [one.claim.cluster for one in known]
    columns = Columns(top=sides * (said == truth), bottom=sides, clusters=places(clusters))
    value = columns.value
    assert value is not None
    return Measurement(
        n=len(known),
        clusters=len(set(clusters)),
        balanced_accuracy=value,
        ci95=interval(columns),
        auc=_auc(chance[truth], chance[~truth]),
        recall={label: _recall(known, label) for label in LABELS},
        ms=float(np.mean([one.ms for one in known])),
    )


def check_enough(claims: Sequence[LabelledClaim]) -> None:
    """Raise :class:`InputError` when too few claims are labelled for figures to mean anything."""
    labels = [claim.label for claim in claims if claim.label is not None]
    supported = labels.count("supported")
    if min(supported, len(labels) - supported) < FEWEST:
        raise InputError(
            f"{supported} claims are labelled supported and {len(labels) - supported} otherwise: "
            f"to save a measurement, label at least {FEWEST} of each"
        )


def _recall(known: Sequence[Judged], label: Label) -> float | None:
    told = [one.verdict.label == label for one in known if one.claim.label == label]
    return sum(told) / len(told) if told else None


def _auc(higher: Floats, lower: Floats) -> float:
    """Share of the pairs in which the first is larger, ties counting half."""
    below = np.sort(lower)
    wins = np.searchsorted(below, higher, side="left") + np.searchsorted(below, higher, side="right")
    return float(wins.sum() / 2 / (len(higher) * len(lower)))
