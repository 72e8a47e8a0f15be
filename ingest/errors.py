"""Errors of ingest and of the index. Every message says what, which value, and the remedy.

IngestError
|- ParseError              one file could not be read; the others go on
|  '- MissingPartError     because something that reads it is not installed
|- NothingToIngestError    the paths hold no file that could be read
|- EmbedderError           the embedding model is missing or broken
|- FieldError              a filter or --meta that cannot be read, or a field that no document has
'- IndexProblem
   |- IndexMissingError    no index at that place
   |- IndexInUseError      another process holds it
   |- IndexMismatchError   made by another embedder or format
   |- IndexDamagedError    its files contradict its catalogue, or cannot be read or written
   |- IndexServerError     its server cannot be reached, refuses or fails
   |- TransferError        a file of 'rag docs export' cannot be read, or does not fit the index
   '- SourceNotFoundError  no document, or more than one, of that name
"""

from __future__ import annotations


class IngestError(Exception):
    """Base of everything that ingest and the index raise for a user to read."""


class ParseError(IngestError):
    """One file could not be read."""


class MissingPartError(ParseError):
    """Something that must be installed is missing; the file may be good."""


class NothingToIngestError(IngestError):
    """The given paths do not exist or hold no file."""


class EmbedderError(IngestError):
    """The embedding model is missing or cannot be loaded."""


class FieldError(IngestError):
    """A filter or a field cannot be read, or no document has such a field."""


class IndexProblem(IngestError):  # noqa: N818
    """Base of errors about an index."""


class IndexMissingError(IndexProblem):
    """There is no index at that place."""


class IndexInUseError(IndexProblem):
    """Another process holds the index."""


class IndexMismatchError(IndexProblem):
    """The index was made with another embedder, dimension or format."""


class IndexDamagedError(IndexProblem):
    """The index's files contradict its catalogue, or cannot be read or written."""


class IndexServerError(IndexProblem):
    """The server of the index cannot be reached, refuses or fails."""


class TransferError(IndexProblem):
    """A file of an exported index cannot be read, or does not fit the index that is to take it."""


class SourceNotFoundError(IndexProblem):
    """No document has that source, or a suffix names more than one."""
