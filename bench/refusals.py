"""How well a refusal is recognised by its wording: precision, recall and F1 on labelled answers.

python bench/refusals.py

The rules of eval/refusals.py were made on the answers whose split is "dev"; "test" is for reporting. Answers whose id
begins with "r" were written by a reviewer to find what the rules get wrong, and are counted apart: "dev r", "test r".
A refusal is the positive class. Wrong ones are shown of "dev" only, so that the rules are never made on "test".
"""

from __future__ import annotations

import argparse
import itertools
from collections import Counter
from pathlib import Path

from machine import print_head

from eval.jsonl import read_rows, unique
from eval.refusals import says_refusal

LABELLED = Path(__file__).parents[1] / "data" / "eval" / "refusals.jsonl"


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    rows = list(unique(read_rows(LABELLED)).values())
    print_head(data=LABELLED.name, answers=len(rows))
    print("split answers refusals precision recall f1 | right of each kind")
    for split, reviewer in itertools.product(("dev", "test"), (False, True)):
        of_split = (row for row in rows if row.text("split") == split)
        chosen = [row for row in of_split if row.text("id").startswith("r") is reviewer]
        pairs = [(row, bool(row.data["refused"]), says_refusal(row.text("answer"))) for row in chosen]
        counts = Counter((wanted, got) for _, wanted, got in pairs)
        right, wrong, missed = counts[True, True], counts[False, True], counts[True, False]
        kinds = Counter(row.text("kind") for row in chosen)
        good = Counter(row.text("kind") for row, wanted, got in pairs if wanted == got)
        print(
            f"{split}{' r' * reviewer} {len(chosen)} {right + missed} "
            f"{right / (right + wrong):.3f} {right / (right + missed):.3f} "
            f"{2 * right / (2 * right + wrong + missed):.3f} |",
            ", ".join(f"{kind} {good[kind]}/{total}" for kind, total in sorted(kinds.items())),
        )
        if split == "dev":
            for row, wanted, got in pairs:
                if wanted != got:
                    print(f"  {row.text('id')} is {'a' if wanted else 'no'} refusal: {row.text('answer')}")


if __name__ == "__main__":
    main()
