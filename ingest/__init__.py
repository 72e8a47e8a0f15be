"""Files -> Document -> Chunk -> vectors -> index. Owns the stored format, writing and reading.

One way in: :func:`ingest.pipeline.ingest` writes, :func:`ingest.index.open_index` opens.
"""
