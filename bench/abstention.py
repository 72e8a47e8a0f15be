"""Which signals of a retrieval tell questions on the documents from others (docs/decisions/0004-abstention.md).

python bench/abstention.py EVALSET_FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from evalset import PARTS, indexed, rows
from machine import print_head
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict

from rag.retriever import Retrieval
from rag.settings import Settings

SIGNALS = ("best_cosine", "coverage", "best_sentence", "relevance")


def auc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Probability that a positive scores higher than a negative; ties count half."""
    higher = (positive[:, None] > negative[None]).mean() + 0.5 * (positive[:, None] == negative[None]).mean()
    return float(higher)


def main() -> None:
    folder = Path(sys.argv[1])
    print_head(data=folder.name)
    found: list[tuple[str, str, Retrieval]] = []
    for corpus, questions in PARTS:
        with indexed(folder / f"{corpus}.jsonl") as (_, retriever):
            asked = rows(folder / f"{questions}.jsonl")
            retrieved = retriever.search_many([row["question"] for row in asked], k=Settings().k)
            for row, retrieval in zip(asked, retrieved, strict=True):
                found.append((row["kind"].split("_")[0], row["cluster"], retrieval))
    table = {signal: np.array([getattr(item[2], signal) for item in found]) for signal in SIGNALS}
    kinds = np.array([kind for kind, _, _ in found])
    clusters = np.array([cluster for _, cluster, _ in found])
    threshold = Settings().min_relevance
    for kind in ("answerable", "far", "near"):
        refused = (table["relevance"][kinds == kind] < threshold).mean()
        print(f"{kind:10s} {(kinds == kind).sum():4d} questions, refused at {threshold}: {refused:.3f}")
    for other in ("far", "near"):
        print(f"\nanswerable against {other}: AUC")
        for signal, values in table.items():
            print(f"  {signal:14s} {auc(values[kinds == 'answerable'], values[kinds == other]):.3f}")
        chosen = (kinds == "answerable") | (kinds == other)
        features = np.column_stack([table[signal] for signal in SIGNALS[:3]])[chosen]
        target = kinds[chosen] == "answerable"
        model = LogisticRegression(C=10, class_weight="balanced")
        folds = GroupKFold(6)
        held = cross_val_predict(model, features, target, groups=clusters[chosen], cv=folds, method="predict_proba")[
            :, 1
        ]
        weights = model.fit(features, target).coef_[0].round(2)
        print(f"  regression     {auc(held[target], held[~target]):.3f} out of fold, weights {weights}")


if __name__ == "__main__":
    main()
