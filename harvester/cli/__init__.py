"""The command line: parse, config, one call, exit code.

Each command is a module with `add_arguments(parser)` and `run(args) -> exit code`, loaded only when it is
called for, so that `harvester --help` costs no more than Python's own start. stdout belongs to the answer,
stderr to the talk.
"""

import sys
from collections.abc import Sequence

from harvester.cli import signals

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """The program `harvester`; `argv` are the words behind its name, `sys.argv`'s where not given."""
    if argv is None and sys.argv[1:2] == ["run"]:
        signals.end_at_once()
    try:
        from harvester.cli.entry import called  # here, so that Ctrl-C while it loads is no traceback either

        return called(argv)
    except KeyboardInterrupt:
        return 75  # errors.EXIT_INTERRUPTED
