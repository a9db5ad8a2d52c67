"""How it is told: a table for people, which docs/performance.md holds as it is, or JSON."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tests.benchmarks.contestants import Runs
from tests.benchmarks.sections import Goal, Report


def markdown(told: Mapping[str, str], reports: Iterable[Report]) -> str:
    return "\n".join(_lines(told, reports))


def _lines(told: Mapping[str, str], reports: Iterable[Report]) -> Iterator[str]:
    for name, value in told.items():
        yield f"{name}: {value}  "
    for report in reports:
        yield f"\n### {report.section}: {report.title}\n"
        if report.rows:
            runs = len(report.rows[0].costs)
            yield f"Medians of {runs} runs in turn; peak is the largest of them.\n"
            yield from _table(report)
        if report.counted:
            head, *counts = report.counted
            yield _line(head)
            yield _line(["---", *["---:"] * (len(head) - 1)])
            yield from map(_line, counts)
        for goal in report.goals:
            yield f"- {'met' if goal.is_met else '**missed**'}: {_told(goal)}"
        for note in report.notes:
            yield f"- {note}"


def _table(report: Report) -> Iterator[str]:
    yardsticks = [row for name in report.against for row in report.rows if row.name == name]
    head = ["", "CPU s", f"CPU µs a {report.unit}", "wall s", "peak MiB"]
    head += [f"CPU against {row.name}" for row in yardsticks]
    yield _line(head)
    yield _line(["---", *["---:"] * (len(head) - 1)])
    for row in report.rows:
        yield _line(_cells(row, report.units[row.name], yardsticks))


def _cells(row: Runs, units: int, yardsticks: Sequence[Runs]) -> Iterator[str]:
    yield row.name
    yield f"{row.cpu_s:.2f}"
    yield f"{row.cpu_s / units * 1e6:.1f}" if units else ""
    yield f"{row.wall_s:.2f}"
    yield f"{row.peak_mib:.0f}"
    for yardstick in yardsticks:
        yield f"{row.cpu_against(yardstick):.2f}"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _told(goal: Goal) -> str:
    return f"{goal.what}: {goal.found:.4g}, goal at {'least' if goal.at_least else 'most'} {goal.limit:.4g}"


def as_json(told: Mapping[str, str], reports: Iterable[Report], rounds: int) -> dict[str, Any]:
    return {**told, "rounds": rounds, "sections": [_section(report) for report in reports]}


def _section(report: Report) -> dict[str, Any]:
    return {
        "section": report.section,
        "title": report.title,
        "unit": report.unit,
        "rows": [
            {
                "name": row.name,
                "units": report.units[row.name],
                "cpu_s": [round(cost.cpu_s, 4) for cost in row.costs],
                "wall_s": [round(cost.wall_s, 4) for cost in row.costs],
                "peak_mib": [round(cost.peak_mib, 1) for cost in row.costs],
                "requests": row.requests,
            }
            for row in report.rows
        ],
        "goals": [
            {"what": goal.what, "found": goal.found, "limit": goal.limit, "met": goal.is_met}
            for goal in report.goals
        ],
        "notes": report.notes,
        "counted": report.counted,
    }
