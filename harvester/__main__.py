"""`python -m harvester` is the program `harvester`."""

import sys


def program() -> int:
    if not sys.flags.safe_path:
        del sys.path[0]  # the current folder: one of data may hold an orjson.py
    from harvester.cli import main

    return main()


sys.exit(program())
