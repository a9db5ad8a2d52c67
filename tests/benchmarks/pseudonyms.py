"""`scripts/bench-pseudonyms`: what a pseudonym costs, in CPU microseconds of the client per record of 3 KB.

In process and on one thread: the replacing alone, the median of some rounds. Beside it the reading of the
same page, which every record pays.
"""

import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from harvester.dialects import Ask, load
from harvester.pseudonyms import Pseudonyms
from harvester.testing.datasets import Datasets
from harvester.testing.settings import Settings

ROUNDS = 15
RECORDS = 1000
CHOICES = (("ANI",), ("ANI", "DNIS"), ("ANI", "DNIS", "FromCity", "AgentName"), ("Agent.Name",))


def main() -> None:
    table = Datasets(Settings(records=RECORDS), lambda: datetime.now(UTC)).table("interactions")
    raws = [bytes(table.row(number)) for number in range(RECORDS)]
    body = b'{"resultCode":0,"data":[' + b",".join(raws) + b"]}"
    start = datetime(2024, 1, 1, tzinfo=UTC)
    ask = Ask(start=start, end=start + timedelta(days=1), limit=RECORDS, offset=0, order_by=None)
    dialect = load("interactions")
    print("| per record | CPU, µs |\n|---|---|")
    print(f"| a page is read | {_cost_us(lambda: dialect.read(body, ask)):.1f} |")
    for fields in CHOICES:
        pseudonyms = Pseudonyms(fields, "k" * 32)
        cost_us = _cost_us(lambda replaced=pseudonyms.record: [replaced(raw) for raw in raws])  # type: ignore[misc]
        print(f"| replaced: {', '.join(fields)} | {cost_us:.1f} |")


def _cost_us(work: Callable[[], object]) -> float:
    took = []
    for _ in range(ROUNDS):
        began = time.process_time()
        work()
        took.append(time.process_time() - began)
    return statistics.median(took) * 1e6 / RECORDS


if __name__ == "__main__":
    main()
