"""After any edits, runs and deaths of the process, the index is what one clean run makes of the files.

RAG_TEST_EXAMPLES=300 python -m pytest tests/test_ingest_states.py looks for longer.
"""

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from ingest_support import CountingEmbedder, clean_state, full_state, light_parse_files, state, write_files

from ingest import pipeline
from ingest.edge import EdgeStore
from ingest.edge_index import EdgeIndex
from ingest.fields import parse_meta
from ingest.index import rebuild_index
from ingest.pipeline import IngestReport, ingest
from ingest.plan import plan

QUERIES = ("one two three four", "always here")
EXAMPLES = os.environ.get("RAG_TEST_EXAMPLES")


class Stopped(Exception):  # noqa: N818
    """The process ends here."""


class AnySequence(RuleBasedStateMachine):
    """Files are added, edited, renamed, copied, touched and deleted; runs come between, with and without ``prune``."""

    names = st.sampled_from(["a.md", "b.md", "c.txt", "d/e.md", "d/f.md"])
    texts = st.sampled_from(["One.", "Two two.", "# Three\nthree\n" * 9, "Four " * 90, "FAIL now"])
    teams = st.sampled_from(["Sea", "Shore", ""])

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(pipeline, "parse_files", light_parse_files)
        self.patch.setattr(pipeline, "GROUP_CHUNKS", 3)
        self.home = Path(tempfile.mkdtemp(prefix="ingest-"))
        self.docs = write_files(self.home / "docs", {"keep.md": "Always here."})
        self.embedder = CountingEmbedder()
        self.index = EdgeIndex(self.home / "index", self.embedder, create=True)

    def files(self) -> list[Path]:
        return sorted(p for p in self.docs.rglob("*") if p.is_file() and p.name != "keep.md")

    def ingest(self, *, prune: bool = False, **options: Any) -> IngestReport:
        """A run, which does what a plan made just before it says."""
        planned = plan([self.docs], self.index.catalogue, prune=prune)
        report = ingest([self.docs], self.index, self.embedder, prune=prune, **options)
        failed = {failure.source for failure in report.failed}
        assert {failure.source for failure in planned.failed} <= failed
        assert report.files == planned.files
        assert report.added == len(set(planned.added) - failed)
        assert report.updated == len(set(planned.updated) - failed)
        assert report.unchanged == len(planned.unchanged)
        assert report.removed == len(planned.removed)
        return report

    @rule(name=names, text=texts)
    def write(self, name: str, text: str) -> None:
        write_files(self.docs, {name: text})

    @precondition(lambda self: self.files())
    @rule(data=st.data(), name=names)
    def rename(self, data: st.DataObject, name: str) -> None:
        source = data.draw(st.sampled_from(self.files()))
        (self.docs / name).parent.mkdir(exist_ok=True)
        source.rename(self.docs / name)

    @precondition(lambda self: self.files())
    @rule(data=st.data(), name=names)
    def duplicate(self, data: st.DataObject, name: str) -> None:
        content = data.draw(st.sampled_from(self.files())).read_bytes()
        write_files(self.docs, {name: content})

    @precondition(lambda self: self.files())
    @rule(data=st.data(), seconds=st.sampled_from([-10_000.0, 0.0, 1e10]))
    def touch(self, data: st.DataObject, seconds: float) -> None:
        file = data.draw(st.sampled_from(self.files()))
        os.utime(file, (seconds, seconds))

    @precondition(lambda self: self.files())
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.files())).unlink()

    @rule(team=teams)
    def give(self, team: str) -> None:
        self.ingest(prune=True, fields=parse_meta([f"team={team}"]))
        expected = {"team": (team,)} if team else {}
        failed = set(self.index.catalogue.refused())
        assert all(d.fields == expected for d in self.index.documents() if d.source not in failed)

    @rule()
    def run(self) -> None:
        self.ingest()

    @rule()
    def run_with_prune(self) -> None:
        """Also the refused are what a clean run refuses, and everything else what it serves."""
        before = {d.source: d.fields for d in self.index.documents()}
        report = self.ingest(prune=True)
        failing = {f.relative_to(self.docs).as_posix() for f in self.files() if f.read_bytes().startswith(b"FAIL")}
        assert {failure.source for failure in report.failed} == failing == set(self.index.catalogue.refused())
        after = {d.source: d.fields for d in self.index.documents()}
        assert all(fields == before[source] for source, fields in after.items() if source in before)

    @rule(method=st.sampled_from(["write", "flush", "delete"]), prune=st.booleans())
    def stop(self, method: str, prune: bool) -> None:
        """A run ends in the middle, and the index is opened again."""

        def stopped(*_: object) -> None:
            raise Stopped

        with self.patch.context() as patch:
            patch.setattr(EdgeStore, method, stopped)
            with suppress(Stopped):
                self.ingest(prune=prune)
        self.reopen()

    @rule()
    def reopen(self) -> None:
        self.index.close()
        self.index = EdgeIndex(self.home / "index", self.embedder)

    @rule()
    def rebuild(self) -> None:
        self.reopen()
        before = full_state(self.index, QUERIES)
        self.index.close()
        assert rebuild_index(str(self.home / "index"), self.embedder).lost == {}
        self.index = EdgeIndex(self.home / "index", self.embedder)
        assert full_state(self.index, QUERIES) == before

    @invariant()
    def nothing_half(self) -> None:
        state(self.index)

    def teardown(self) -> None:
        for file in self.files():
            if file.read_bytes().startswith(b"FAIL"):
                file.unlink()
        self.ingest(prune=True, fields=parse_meta(["team="]))
        # The engine counts deleted points among the documents of a term until it is opened again.
        self.reopen()
        assert full_state(self.index, QUERIES) == clean_state(self.docs, self.home / "clean", QUERIES)
        assert self.index.damage() == {}
        assert self.index.catalogue.refused() == {}
        self.embedder.embedded = 0
        again = self.ingest(prune=True)
        assert (again.added, again.updated, again.removed, self.embedder.embedded) == (0, 0, 0, 0)
        self.index.close()
        shutil.rmtree(self.home)
        self.patch.undo()


TestAnySequence = AnySequence.TestCase
TestAnySequence.settings = settings(
    max_examples=int(EXAMPLES or 6),
    stateful_step_count=12,
    deadline=None,
    # A failing example is made smaller, which takes minutes, only where somebody looks for one.
    phases=list(Phase) if EXAMPLES else [Phase.explicit, Phase.reuse, Phase.generate],
)
