"""OUT: the folder that a run wrote to, as the commands that look at it are given it."""

from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path


def add_argument(parser: ArgumentParser) -> None:
    parser.add_argument("out", metavar="OUT", type=_folder, help="the folder that a run wrote to")


def _folder(text: str) -> Path:
    """Whether anything is there is the command's question; what can never be is told here."""
    path = Path(text)
    try:
        path.exists()
    except OSError as error:
        shown = text if len(text) <= 80 else f"{text[:77]}..."
        raise ArgumentTypeError(f"{shown!r} cannot be a folder: {error.strerror}; name another") from None
    return path
