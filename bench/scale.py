"""A store of many chunks: how long it takes to write and to seal, disk, memory, and how long searches take.

python bench/scale.py [--chunks 100000] [--variant default|exact|scalar|binary|graph] [--like INDEX] [--questions 200]

The chunks are synthetic (bench/synthetic.py). With --like their vectors lie between those of a real index in a folder;
else they are random, which no other data is as hard as. While the store is sealed searches go on, and the longest one
is printed. A variant changes how sealed segments find the nearest vectors.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

import numpy as np
from machine import print_head
from synthetic import DIMENSION, Variant, at_scale, print_scale

from ingest.catalogue import Catalogue
from ingest.edge_index import CATALOGUE_FILE
from ingest.types import Vectors


def kept_vectors(index: Path) -> Vectors:
    """The vectors of an index in a folder (chunks, dimension)."""
    catalogue = Catalogue(index / CATALOGUE_FILE)
    kept = [chunk.vector for document in catalogue.chunk_counts() for chunk in catalogue.chunks(document)]
    catalogue.close()
    return np.array(kept, dtype=np.float32).reshape(-1, DIMENSION)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--variant", choices=get_args(Variant), default="default")
    parser.add_argument("--like", type=Path, help="the folder of an index whose vectors the synthetic ones resemble")
    parser.add_argument("--questions", type=int, default=200)
    given = parser.parse_args()
    like = kept_vectors(given.like) if given.like else None
    vectors = "random" if like is None else f"between those of {len(like)} real chunks"
    print_head(data=f"{given.chunks} synthetic chunks, vectors {vectors}", variant=given.variant)
    print_scale(at_scale(given.chunks, given.questions, given.variant, like))


if __name__ == "__main__":
    main()
