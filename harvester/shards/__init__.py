"""Shards: sorted records become sealed files. Public names by theme; see the files for the promises."""

from .formats import PARQUET, read_lines, read_rows, suffix
from .receipts import OutputSettings, Receipt

__all__ = ["PARQUET", "OutputSettings", "Receipt", "read_lines", "read_rows", "suffix"]
