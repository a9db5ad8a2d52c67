"""From the words typed to an exit code: finds the command, turns whatever ends it into a code and one
sentence.
"""

import os
import signal
import sys
import threading
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from contextlib import ExitStack
from difflib import get_close_matches
from importlib import import_module
from typing import NoReturn

from harvester.cli import certificates, collector, signals, streams, suspects
from harvester.cli.commands import COMMANDS, LATER, first_page
from harvester.errors import EXIT_INTERRUPTED, ConfigError, HarvesterError, StorageError

HELP_WIDTH = 100


def called(argv: Sequence[str] | None) -> int:
    """Runs the command. Raises KeyboardInterrupt alone, and that only while an earlier one is being told."""
    words = list(sys.argv[1:] if argv is None else argv)
    streams.tolerate()
    if argv is None:
        streams.hold()
    before = [(number, signal.getsignal(number)) for number in signals.OBEYED if _is_main_thread()]
    try:
        code = _ended(words, is_embedded=argv is not None)
        return _flushed() or code
    finally:
        # From here on the interpreter only ends: a signal that comes now finds everything told, and must not
        # change the code. Whoever called us with words of his own gets his handlers back.
        for number, handler in before:
            signal.signal(number, signal.SIG_IGN if argv is None else handler)


def _ended(words: list[str], *, is_embedded: bool) -> int:
    is_run = words[:1] == ["run"]
    try:
        if is_run and is_embedded and _is_main_thread():
            # Somebody's process must not end here; one of our own has had its handler since its first line.
            signal.signal(signal.SIGTERM, signal.default_int_handler)
        return _command(words, is_embedded=is_embedded)
    except SystemExit as end:  # argparse has said why
        return end.code if isinstance(end.code, int) else ConfigError.exit_code
    except KeyboardInterrupt:
        if is_run:
            signals.ignore()
        streams.talk("harvester: interrupted")
        return _without_a_harvest("interrupted", EXIT_INTERRUPTED) if is_run else EXIT_INTERRUPTED
    except ConfigError as error:
        streams.talk(f"harvester: error: {suspects.told(str(error), words, os.environ)}")
        return error.exit_code
    except HarvesterError as error:
        streams.talk(f"harvester: error: {error}")
        return error.exit_code
    except PermissionError as error:
        storage = StorageError.of(error)
        streams.talk(f"harvester: error: {storage}")
        return _without_a_harvest(storage.status, storage.exit_code) if is_run else storage.exit_code
    except Exception as error:
        if sys.flags.dev_mode:
            raise
        hint = "a mistake in harvester: please report it with what PYTHONDEVMODE=1 shows"
        streams.talk(f"harvester: error: unforeseen {where(error)}; {hint}")
        return _without_a_harvest("error", HarvesterError.exit_code) if is_run else HarvesterError.exit_code


def _without_a_harvest(status: str, code: int) -> int:
    """The last line of a run that ended before it had a job to speak of."""
    streams.say(signals.nothing_done(status, code))
    return code


def _flushed() -> int:
    """Not 0 where the answer did not get out."""
    try:
        streams.flush()
    except HarvesterError as error:
        streams.talk(f"harvester: error: {error}")
        return error.exit_code
    return 0


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def where(error: BaseException) -> str:
    """The class of an unforeseen error and the line it came from. Its text may hold anything, so it is left
    out.
    """
    trace = error.__traceback__
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
        trace = error.__traceback__ or trace
    while trace and trace.tb_next:
        trace = trace.tb_next
    place = f" at {os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}" if trace else ""
    return f"{type(error).__name__}{place}"


def _command(words: list[str], *, is_embedded: bool) -> int:
    if words[:1] == ["help"]:
        words = [*words[1:2], "--help"]
    name = words[0] if words else ""
    if name in ("-h", "--help"):
        streams.say(first_page(), end="")
        return 0
    if name in ("-V", "--version"):
        from harvester import __version__

        streams.say(f"harvester {__version__}")
        return 0
    if name in COMMANDS:
        with ExitStack() as stack:
            if not is_embedded:
                stack.enter_context(collector.seldom_from_now_on())
                stack.enter_context(certificates.unread())
            module = import_module(COMMANDS[name].module)
        parser = _Parser(
            prog=f"harvester {name}",
            description=COMMANDS[name].about,
            allow_abbrev=False,
            formatter_class=_Formatter,
        )
        module.add_arguments(parser)
        code: int = module.run(parser.parse_args(words[1:]))
        return code
    if not name:
        streams.talk(first_page(), end="")
        return ConfigError.exit_code
    raise ConfigError(_unknown(name))


def _unknown(name: str) -> str:
    if name in LATER:
        return f"harvester {name}: not available in this version; {LATER[name]}"
    if name.startswith("-"):
        return (
            f"{name!r}: the command comes first, as in `harvester run JOB.toml {name}`; see harvester --help"
        )
    near = get_close_matches(name, COMMANDS, 1, 0.5)
    hint = f"did you mean {near[0]}?" if near else "see harvester --help"
    if name.endswith(".toml"):
        hint = f"did you mean `harvester run {name}`?"
    return f"{name!r}: there is no such command; {hint}"


class _Parser(ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """argparse repeats the words that it does not understand."""
        streams.talk(self.format_usage(), end="")
        raise ConfigError(f"{self.prog.partition(' ')[2]}: {message}; `{self.prog} --help` tells more")


class _Formatter(RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        from shutil import get_terminal_size

        super().__init__(prog, max_help_position=28, width=min(HELP_WIDTH, get_terminal_size().columns - 2))
