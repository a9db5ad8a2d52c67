"""Lines for people, aligned and coloured by structlog's renderer; nothing global is configured."""

from collections.abc import Callable
from typing import Any

from structlog import dev


def renderer(colors: bool, *, widest: int) -> Callable[[dict[str, Any]], str]:
    """Makes a text of a line's keys; `widest` is the longest name of an event."""

    def paint(style: str) -> str:
        return style if colors else ""

    def column(style: str, key_style: str | None = None, width: int = 0) -> dev.KeyValueColumnFormatter:
        reset = paint(dev.RESET_ALL)
        return dev.KeyValueColumnFormatter(key_style, paint(style), reset, value_repr=_quoted, width=width)

    levels = {"debug": dev.DIM, "info": dev.GREEN, "warning": dev.YELLOW, "error": dev.RED + dev.BRIGHT}
    level = dev.LogLevelColumnFormatter(
        {name: paint(style) for name, style in levels.items()}, reset_style=paint(dev.RESET_ALL)
    )
    render = dev.ConsoleRenderer(
        sort_keys=False,
        columns=[
            dev.Column("timestamp", column(dev.DIM)),
            dev.Column("level", level),
            dev.Column("event", column(dev.BRIGHT, width=widest)),
            dev.Column("", column("", key_style=paint(dev.CYAN))),
        ],
    )
    return lambda line: str(render(None, line["level"], line))


def _quoted(value: object) -> str:
    """A quote inside ends nothing: what a server says must not look like a key of ours."""
    text = str(value)
    return '"' + text.replace('"', '\\"') + '"' if " " in text or '"' in text else text
