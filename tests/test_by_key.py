"""Pages that begin behind a key: used where a probe found that the source knows how, never trusted
blindly."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from harvester import dialects, events
from harvester.contract import FILE
from harvester.dialects import Ask, Page, Row
from harvester.errors import ConfigError, Rejected
from harvester.pages import Pages, Served
from harvester.probe import probe, write
from harvester.records import Batch, Gather, Held
from harvester.windows import Resolution, Window
from tests.harvesting import START, HastyClock, World, live

DIALECT = dialects.load("interactions").select()
NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
HOUR = Window(start=NOON, end=NOON + timedelta(hours=1))
MS = timedelta(milliseconds=1)


def row(number: int, at: datetime) -> Row:
    key = f"{number:06}"
    return (at, key, "1", f'{{"_id":"{key}"}}'.encode())


def tied(count: int) -> list[Row]:
    """All in one instant."""
    return [row(number, NOON + 7000 * MS) for number in range(count)]


def crossed(count: int) -> list[Row]:
    """Evenly over the hour, keys against the time."""
    step = timedelta(hours=1) / count
    return [row(count - number, NOON + number * step // MS * MS) for number in range(count)]


@dataclass
class KeyServer:
    """Pages of 10 at most; offsets beyond `depth` are refused; `seeks` says what the filter does."""

    rows: list[Row]
    seeks: str = "works"
    depth: int = 30
    cap: int = 10
    removed: dict[int, Row] = field(default_factory=dict)
    """Rows that go away before the request of that number."""
    asks: list[Ask] = field(default_factory=list)

    async def send(self, ask: Ask, /) -> Page:
        gone = self.removed.get(len(self.asks))
        self.rows = [one for one in self.rows if one != gone]
        self.asks.append(ask)
        if ask.offset >= self.depth:
            raise Rejected("too deep", status_code=400)
        rows = [one for one in self.rows if ask.start <= one[0] < ask.end]
        if ask.after is not None and self.seeks != "ignored":
            if self.seeks == "refused":
                raise Rejected("no filter", status_code=400)
            rows = [one for one in rows if self._passes(str(one[1]), str(ask.after))]
        by_date = ask.order_by == DIALECT.date_field
        rows.sort(key=lambda one: one[:2] if by_date else one[1:2])
        return Page(rows=rows[ask.offset : ask.offset + min(self.cap, ask.limit)])

    def _passes(self, key: str, after: str) -> bool:
        if self.seeks == "nothing":
            return False
        return key > after or (self.seeks == "gte" and key == after)


def served(**seen: Any) -> Served:
    return Served(limit=100, seeks=True, **seen)


def read(server: KeyServer, state: Served, window: Window = HOUR) -> Batch:
    async def reading() -> Batch:
        gather = Gather(window, dialect=DIALECT, held=Held(), spill_path=lambda: Path("/nowhere"))
        pages = Pages(server, dialect=DIALECT, served=state, emit=events.nobody)
        await pages.read(window, gather)
        return await gather.batch()

    return anyio.run(reading)


def test_ties_beyond_many_pages_are_read_without_a_deep_offset() -> None:
    server = KeyServer(tied(500))
    assert list(read(server, served(order_kept=True)).rows) == tied(500)
    assert max(ask.offset for ask in server.asks) < 10
    assert len(server.asks) <= 500 / 8 + 3  # ten rows a page, of which one is the anchor


def test_it_costs_no_more_requests_than_offsets_do() -> None:
    by_key, by_offset = KeyServer(crossed(300)), KeyServer(crossed(300), depth=1000)
    assert list(read(by_key, served()).rows) == list(read(by_offset, Served(limit=100)).rows)
    assert len(by_key.asks) <= len(by_offset.asks) + 300 / 80


def test_rows_that_come_in_order_by_chance_of_the_data_prove_no_order() -> None:
    """Keys ascend with time, and nothing shows that the server goes by key: offsets count."""
    server = KeyServer(crossed(100)[::-1], depth=1000)
    server.rows = [row(number, NOON + number * 1000 * MS) for number in range(100)]
    read(server, served(order_kept=False))
    assert all(ask.after is None for ask in server.asks)


@pytest.mark.parametrize(
    ("seeks", "told"), [("ignored", "lets through"), ("gte", "lets through"), ("refused", "refused")]
)
def test_a_server_that_does_not_keep_to_the_key_is_read_in_another_way(seeks: str, told: str) -> None:
    server, state = KeyServer(crossed(300), seeks=seeks, depth=1000), served()
    assert len(list(read(server, state).rows)) == 300
    assert not state.seeks
    assert told in state.seek_seen
    assert sum(ask.after is not None for ask in server.asks) == 1


def test_an_empty_answer_to_a_filter_is_no_end() -> None:
    server = KeyServer(crossed(300), seeks="nothing", depth=1000)
    assert len(list(read(server, served()).rows)) == 300


def test_the_last_record_of_a_page_may_go_away_before_the_next_one() -> None:
    rows = crossed(300)
    by_key = sorted(rows, key=lambda one: one[1])
    server = KeyServer(list(rows), removed={1: by_key[9], 2: by_key[18], 3: by_key[17]})
    got = {one[1] for one in read(server, served()).rows}
    assert {one[1] for one in rows} - got <= {one[1] for one in server.removed.values()}


def test_copies_that_the_end_of_a_page_parts_are_both_seen() -> None:
    """Two versions of the tenth record: the newer one stands first on the second page."""
    rows = crossed(300)
    tenth = sorted(rows, key=lambda one: one[1])[9]
    newer = (tenth[0], tenth[1], "2", b'{"_id":"newer"}')
    server = KeyServer([*rows, newer])
    assert newer in read(server, served()).rows


# --- end to end


async def probed(world: World) -> None:
    write(await probe(world.job(), clock=HastyClock()), world.out)
    assert b'"seek",\n      "value": "works"' in (world.out / FILE).read_bytes()
    world.simulator.stats.asked.clear()


def told(world: World) -> list[str]:
    return [event.fact for event in world.heard if isinstance(event, events.ContractChanged)]


def filters(world: World) -> int:
    return sum(bool(entry.get("filter")) for entry in world.simulator.stats.asked)


@pytest.mark.parametrize("resolution", [Resolution.AUTO, Resolution.DAY])
@pytest.mark.parametrize(
    "faults",
    [
        [{"offset_refused": 30}],
        [{"offset_refused": 30}, {"page_cap": 19}],
        [{"offset_refused": 30}, {"duplicates": 0.1}],
        [{"offset_refused": 30}, {"versions": 0.1}],
    ],
    ids=str,
)
def test_ties_beyond_a_page_are_whole_where_deep_offsets_are_refused(
    tmp_path: Path, faults: list[dict[str, Any]], resolution: Resolution
) -> None:
    async def story(world: World) -> None:
        await probed(world)
        world.simulator.set_faults(faults)
        outcome = await world.run(resolution=resolution, page_size=25)
        assert outcome.exit_code == 0, (outcome.error, outcome.gaps)
        assert "seek" not in told(world)
        assert not world.difference()
        assert filters(world)

    live(tmp_path, story, records=300, cluster=120)


def test_without_a_contract_the_same_is_a_gap(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.simulator.set_faults([{"offset_refused": 30}])
        assert (await world.run(resolution=Resolution.AUTO, page_size=25)).exit_code == 3
        assert not filters(world)

    live(tmp_path, story, records=300, cluster=120)


@pytest.mark.parametrize("does", ["ignored", "refused", "gte"])
def test_a_source_that_has_unlearned_it_is_told_and_read_by_offset(tmp_path: Path, does: str) -> None:
    async def story(world: World) -> None:
        await probed(world)
        world.simulator.set_faults([{"filter": does}])
        outcome = await world.run(resolution=Resolution.AUTO, page_size=25)
        assert (outcome.exit_code, told(world)) == (0, ["seek"])
        assert not world.difference()

    live(tmp_path, story, records=300, cluster=120)


def test_rows_that_move_meanwhile_are_there(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await probed(world)
        world.simulator.set_faults(
            [{"order": "ignored", "share": 0.2}, {"insert": 2, "times": 3}, {"rewrite": 3, "times": 5}]
        )
        outcome = await world.run(resolution=Resolution.DAY, page_size=25)
        assert outcome.exit_code == 0
        assert not world.difference().missing

    live(tmp_path, story, records=300, cluster=60)


# --- the dialect's words


def test_the_filter_is_written_as_the_dialect_says_and_joined_with_the_jobs_own() -> None:
    ask = Ask(start=START, end=START, limit=5, offset=0, order_by="_id", after='a"b')
    assert b'"Filter":{"_id":{"$gt":"a\\"b"}}' in (DIALECT.request(ask).body or b"")
    own = dialects.load("interactions").select(filter={"AgentId": 7})
    wanted = b'"Filter":{"$and":[{"AgentId":7},{"_id":{"$gt":"a\\"b"}}]}'
    assert wanted in (own.request(ask).body or b"")
    assert DIALECT.seeks
    assert own.seeks
    assert not dialects.load("messages").select().seeks
    assert not dialects.load("interactions").select(filter="AgentId = 7").seeks


@pytest.mark.parametrize(
    ("seek", "words"),
    [
        ('after = { _id = "{key}" }', r"\[seek\] after: .*names no known parameter.*Known are \{after\}"),
        ('after = { _id = "x" }', r"\[seek\] after: no place for \{after\}"),
        ('after = { _id = "{after}" }\nboth = { a = "{after}" }', r"\[seek\] both: no place for \{filter\}"),
    ],
)
def test_a_mistake_in_seek_is_told_with_file_and_key(seek: str, words: str, tmp_path: Path) -> None:
    text = (Path(dialects.__file__).parents[2] / "config/sources/interactions.toml").read_text()
    before, _, after = text.partition("[seek]")
    path = tmp_path / "mine.toml"
    path.write_text(f"{before}[seek]\n{seek}\n\n[answer]{after.partition('[answer]')[2]}")
    with pytest.raises(ConfigError, match=rf"mine.toml: {words}"):
        dialects.load(str(path))
