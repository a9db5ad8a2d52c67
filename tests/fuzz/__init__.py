"""Fuzz: whatever bytes come, each reader gives what it promises or one of our errors.

`readers` and `outputs` have the targets: what is fed to whom, and what must hold. `seeds` has what fuzzing
begins with, `edits` changes good documents in their values, `corpus/` keeps inputs that once failed.
Hypothesis feeds a fixed sample in the tests; `python -m tests.fuzz --target NAME` goes by coverage.
"""
