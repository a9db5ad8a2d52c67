"""OUT: the folder that a run wrote to, as the commands that look at it are given it."""

from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path

from harvester.errors import ConfigError, StorageError
from harvester.ledger import is_begun
from harvester.shards import naming


def add_argument(parser: ArgumentParser) -> None:
    parser.add_argument("out", metavar="OUT", type=_folder, help="the folder that a run wrote to")


def _folder(text: str) -> Path:
    """Whether anything is there is the command's question; what can never be is told here."""
    if not text:
        raise ArgumentTypeError("an empty name: name the folder; . is the one that you are in")
    path = Path(text)
    try:
        path.exists()
    except OSError as error:
        shown = text if len(text) <= 80 else f"{text[:77]}..."
        raise ArgumentTypeError(f"{shown!r} cannot be a folder: {error.strerror}; name another") from None
    return path


def check_begun(out: Path) -> None:
    """ConfigError where no run has ever written: such a folder has no ledger to go by. StorageError where one
    was and is gone.
    """
    if not out.is_dir():
        what = "is a file, not an output" if out.exists() else "there is nothing here"
        raise ConfigError(f"{out}: {what}; name the folder that a run writes to (output.url)")
    if not is_begun(out):
        from harvester.output.soundness import has_traces, last_resort  # seldom, and not light

        if not has_traces(out):
            raise ConfigError(f"{out}: no harvest was begun here; `harvester run` begins one")
        if not (out / naming.MANIFEST).exists():
            raise StorageError(f"{out}: ledger and manifest are missing; {last_resort(out)}")
        raise StorageError(
            f"{out}: the ledger is missing (_harvest/ledger.sqlite); `harvester rebuild-ledger {out}` "
            "restores it from the manifest and the shards"
        )
