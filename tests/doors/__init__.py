"""Each closed door, opened on purpose: scripts/door-mutants breaks the program in one place after the
other, and names the test that sees it."""
