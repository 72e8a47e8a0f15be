"""Fit and measure a claim verifier: python bench/fit_verifier.py CLAIMS.jsonl [--verifier alignment] [--write] (needs
scikit-learn).

CLAIMS.jsonl has ``{"claim", "evidence", "label", "cluster"}`` a line. All figures are out of fold: five folds
with whole clusters in each, five times with another shuffle. Besides the given claims, altered copies of
supported ones (a "not" put in, a number changed) are learnt from as contradicted, with a fifth of the weight;
they are altered within the fold, and no figure but "altered copies caught" counts them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import re
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import sklearn
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, recall_score, roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

from rag.alignment import ALIGNMENT_FEATURES, AlignmentVerifier
from rag.claims import FEATURES, features
from rag.grounding import LABELS, Grounding
from rag.roles import turned
from rag.verifier import TURNED, Weights

ALTERED_WEIGHT = 0.2
SHUFFLES = 5
DATA = Path(__file__).parent.parent / "rag" / "data"
TARGETS = {"lexical": DATA / "verifier.json", "alignment": DATA / "alignment.json"}


def altered(claim: str) -> list[str]:
    """Copies of a claim that say something else: negated, and with its first number changed."""
    found = []
    if verb := re.search(r"\b(?:is|was|are|were|has|have|had|can|will)\b(?! not)", claim):
        found.append(f"{claim[: verb.end()]} not{claim[verb.end() :]}")
    if number := re.search(r"\d+", claim):
        found.append(f"{claim[: number.start()]}{2 * int(number[0]) + 1}{claim[number.end() :]}")
    return found


def fit(rows: np.ndarray, labels: np.ndarray, copies: np.ndarray) -> LogisticRegression:
    """Softmax regression with L2 penalty (C=1, fixed beforehand)."""
    weights = np.r_[np.ones(len(rows)), np.full(len(copies), ALTERED_WEIGHT)]
    model = LogisticRegression(C=1.0, max_iter=3000)
    return model.fit(np.r_[rows, copies], np.r_[labels, ["contradicted"] * len(copies)], sample_weight=weights)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("claims", type=Path)
    parser.add_argument("--verifier", choices=TARGETS, default="lexical")
    parser.add_argument("--write", action="store_true", help="write the weights into rag/data")
    args = parser.parse_args()
    claims = [json.loads(line) for line in args.claims.read_text(encoding="utf-8").splitlines()]
    grounding = Grounding()
    measure = partial(features, grounding)
    names = FEATURES
    if args.verifier == "alignment":
        blank = Weights(matrix=np.zeros((len(ALIGNMENT_FEATURES), 3)), intercept=np.zeros(3), measured={})
        measure, names = AlignmentVerifier(weights=blank).features, ALIGNMENT_FEATURES
    began = time.perf_counter()
    pairs = [(claim["claim"], claim["evidence"]) for claim in claims]
    rows = np.array([measure(*pair) for pair in pairs])
    swaps = np.array([turned(grounding, *pair) for pair in pairs])
    pair_ms = 1000 * (time.perf_counter() - began) / len(claims)
    labels = np.array([claim["label"] for claim in claims])
    clusters = np.array([claim["cluster"] for claim in claims])
    origin, copies = [], []
    for at, claim in enumerate(claims):
        if claim["label"] == "supported":
            for text in altered(claim["claim"]):
                origin.append(at)
                copies.append(measure(text, claim["evidence"]))
    origins, copied = np.array(origin), np.array(copies)
    figures = out_of_fold(rows, swaps, labels, clusters, origins, copied)
    versions = f"Python {platform.python_version()}, scikit-learn {sklearn.__version__}"
    print(f"machine   {platform.machine()}, {platform.system()}, {versions}")
    digest = hashlib.sha256(args.claims.read_bytes()).hexdigest()
    print(f"data      {len(claims)} claims in {len(set(clusters))} clusters, sha256 {digest[:16]}")
    print(f"command   {' '.join(['python', 'bench/fit_verifier.py', 'CLAIMS.jsonl', *sys.argv[2:]])}")
    for name, value in figures.items():
        print(f"{name:28s} {value:.3f}")
    print(f"{'ms a pair':28s} {pair_ms:.2f}")
    if args.write:
        model = fit(rows, labels, copied)
        place = [list(model.classes_).index(label) for label in LABELS]
        data = f"{len(claims)} claims, sha256 {digest}"
        write(args.verifier, names, model.coef_[place].T, model.intercept_[place], figures, data)


def out_of_fold(
    rows: np.ndarray,
    swaps: np.ndarray,
    labels: np.ndarray,
    clusters: np.ndarray,
    origins: np.ndarray,
    copies: np.ndarray,
) -> dict[str, float]:
    """Means over the shuffles of what the fitted models did on the clusters that they had not seen."""
    supported = labels == "supported"
    found: dict[str, list[float]] = {}
    for shuffle in range(SHUFFLES):
        chance, chosen, caught = np.zeros(len(labels)), labels.copy(), np.zeros(len(copies), dtype=bool)
        folds = StratifiedGroupKFold(5, shuffle=True, random_state=shuffle)
        for train, test in folds.split(rows, labels, clusters):
            learnt = np.isin(origins, train)
            model = fit(rows[train], labels[train], copies[learnt])
            column = list(model.classes_).index("supported")
            shares = model.predict_proba(rows[test])
            chance[test] = shares[:, column] * np.where(swaps[test], TURNED, 1.0)
            others = [at for at in range(3) if at != column]
            rest = model.classes_[others][shares[:, others].argmax(axis=1)]
            chosen[test] = np.where(chance[test] >= 0.5, "supported", rest)
            caught[~learnt] = model.predict_proba(copies[~learnt])[:, column] < 0.5
        for name, value in {
            "balanced_accuracy": balanced_accuracy_score(supported, chance >= 0.5),
            "auc": roc_auc_score(supported, chance),
            **{f"recall_{label}": recall_score(labels, chosen, labels=[label], average="macro") for label in LABELS},
            "altered_copies_caught": caught.mean(),
        }.items():
            found.setdefault(name, []).append(float(value))
    return {name: float(np.mean(values)) for name, values in found.items()}


def write(
    verifier: str,
    names: tuple[str, ...],
    matrix: np.ndarray,
    intercept: np.ndarray,
    figures: dict[str, float],
    data: str,
) -> None:
    """The file that the verifier reads."""
    content = {
        "about": f"Weights of the {verifier} verifier by bench/fit_verifier.py; measured on clusters not fitted on.",
        "data": f"{data} (labelled pairs of VitaminC, Schuster et al. 2021; not part of this project)",
        "measured": {name: round(value, 4) for name, value in figures.items()},
        "intercept": dict(zip(LABELS, np.round(intercept, 4).tolist(), strict=True)),
        "weights": {
            name: dict(zip(LABELS, row, strict=True))
            for name, row in zip(names, np.round(matrix, 4).tolist(), strict=True)
        },
    }
    TARGETS[verifier].write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
