"""The progress bar: the foot of a terminal, drawn from the counters by a thread of its own.

No event draws anything: the loop only counts, and a terminal that stands still holds up nobody but that
thread. The second line appears only when there is something to worry about.
"""

from collections.abc import Mapping
from typing import TextIO

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harvester.printable import printable
from harvester.telemetry.counters import Counters, duration

DRAWN_PER_S = 5
"""Fast enough to look alive, and 5 drawings a second cost 1 % of a core."""


class Bar:
    """To be entered. `print` puts a line above the bar; the bar's last state stays on the screen."""

    def __init__(self, counters: Counters, stream: TextIO, environ: Mapping[str, str]) -> None:
        self._console = Console(
            file=stream, force_terminal=True, highlight=False, soft_wrap=True, _environ=environ
        )
        self._live = Live(
            _Foot(counters),
            console=self._console,
            refresh_per_second=DRAWN_PER_S,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> "Bar":
        self._live.start(refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def print(self, line: str) -> None:
        """`line` may be coloured by escape sequences; it is printed as it is, brackets are no markup here."""
        self._console.print(Text.from_ansi(line), soft_wrap=True)


class _Foot:
    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        counters = self._counters
        if not counters.windows:
            if not counters.is_begun:
                yield Text("starting", style="dim")
            return
        done = counters.windows_done + counters.windows_failed
        parts = [
            (f"{done:,}/{counters.windows:,} windows", "bold"),
            (f"{counters.records:,} records", ""),
            (f"{counters.recent_records_per_s:,.0f}/s", "green"),
            (_eta(counters), "cyan"),
        ]
        text = Text("  ").join(Text(part, style) for part, style in parts if part)
        room = options.max_width - text.cell_len - 2
        line = Table.grid(padding=(0, 2, 0, 0))
        bar = ProgressBar(
            total=counters.windows,
            completed=done,
            width=min(room, 40),
            style="bright_black",
            complete_style="cyan",
            finished_style="red" if counters.windows_failed else "green",
        )
        line.add_row(bar, text)
        shown = line if room >= 8 else text
        yield Group(shown, worries) if (worries := _worries(counters)) else shown


def _eta(counters: Counters) -> str:
    if counters.draining:
        return "finishing"
    return "" if (eta_s := counters.eta_s) is None else f"{duration(eta_s)} left"


def _worries(counters: Counters) -> Text | None:
    parts: list[tuple[str, str]] = []
    if counters.draining:
        parts.append((f"stopping ({printable(counters.draining, 60)}); once more to stop at once", "yellow"))
    if paused_s := counters.paused_s:
        parts.append((f"waiting {paused_s:.0f} s: {printable(counters.paused_for, 60)}", "yellow"))
    if counters.throttled:
        parts.append((f"throttled {counters.throttled:,} x", "yellow"))
    if others := counters.retries - counters.throttled:
        parts.append((f"{others:,} {'retry' if others == 1 else 'retries'}", "yellow"))
    if counters.quarantined:
        parts.append((f"{counters.quarantined:,} quarantined", "red"))
    if counters.windows_failed:
        parts.append((f"{counters.windows_failed:,} failed", "bold red"))
    return Text("  ").join(Text(part, style, overflow="ellipsis") for part, style in parts) if parts else None
