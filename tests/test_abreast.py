"""scheduler/abreast.py: as many stretches side by side as bring more, and no more than memory holds else."""

import random

import anyio
import pytest

from harvester.scheduler.abreast import MAX_REST, Abreast

PAGE_S = 0.012
"""What a page costs the CPU: more do not come in the time, however many stretches there are."""
NEAR, FAR = 0.0, 0.3


class Source:
    def __init__(self, abreast: Abreast, noise: float) -> None:
        self.abreast = abreast
        self._noise = noise
        self._rng = random.Random(7)
        self._now_s = 0.0

    async def serve(self, pages: int, latency_s: float) -> list[int]:
        """Pages of stretches that are read side by side; how many those were, page by page."""
        abreast, limits = self.abreast, []
        for _ in range(pages):
            while abreast.reading < abreast.limit:
                await abreast.begin()
            while abreast.reading > abreast.limit:
                abreast.is_read()
                abreast.is_stored()
            many = abreast.limit
            took_s = max(latency_s + PAGE_S, many * PAGE_S)
            took_s *= self._rng.uniform(1 - self._noise, 1 + self._noise)
            self._now_s += took_s / many
            abreast.came(1000, since_s=self._now_s - took_s, now_s=self._now_s)
            limits.append(many)
        return limits


def played(*parts: tuple[int, float], least: int = 2, most: int = 16, noise: float = 0.0) -> list[list[int]]:
    async def playing() -> list[list[int]]:
        source = Source(Abreast(least, most), noise)
        return [await source.serve(pages, latency_s) for pages, latency_s in parts]

    return anyio.run(playing)


def test_where_answers_are_what_all_wait_for_there_soon_are_as_many_as_the_job_allows() -> None:
    [limits] = played((2000, FAR))
    assert limits[0] == 2
    assert limits.index(16) < 60
    assert limits.count(16) > 0.9 * len(limits)


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_where_the_cpu_is_there_are_hardly_ever_more_than_find_room(noise: float) -> None:
    [limits] = played((5000, NEAR), noise=noise)
    assert limits.count(2) > 0.95 * len(limits)
    [limits] = played((5000, NEAR), least=6, noise=noise)
    assert limits.count(6) > 0.95 * len(limits)


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_what_changes_on_the_way_is_found(noise: float) -> None:
    _, far, near = played((1000, NEAR), (4000, FAR), (2 * MAX_REST, NEAR), noise=noise)
    assert far[-1] == 16
    assert near[-1] == 2


def test_there_are_never_more_than_the_job_allows_nor_fewer_than_one() -> None:
    assert set(played((300, FAR), least=6, most=3)[0]) == {3}
    assert set(played((300, FAR), least=0, most=1)[0]) == {1}


def test_what_left_under_another_number_tells_nothing() -> None:
    async def playing() -> None:
        abreast = Abreast(2, 16)
        await abreast.begin()
        for at in range(100):  # one alone
            abreast.came(1000, since_s=at, now_s=at + 1)
        assert abreast.limit == 2
        await abreast.begin()
        at = 100
        while abreast.limit == 2:
            at += 1
            abreast.came(1000, since_s=at - 1, now_s=at)
        await abreast.begin()
        await abreast.begin()
        for _ in range(100):  # it left before there were four
            abreast.came(1000, since_s=at - 1, now_s=at + 1)
        assert abreast.limit == 4

    anyio.run(playing)


def test_where_memory_is_full_the_next_waits_until_one_is_stored() -> None:
    async def playing() -> None:
        abreast = Abreast(2, 16)
        begun = []

        async def planning() -> None:
            for number in range(4):
                await abreast.begin()
                begun.append(number)

        async with anyio.create_task_group() as group:
            group.start_soon(planning)
            await anyio.wait_all_tasks_blocked()
            assert begun == [0, 1]
            abreast.is_read()
            await anyio.wait_all_tasks_blocked()
            assert begun == [0, 1, 2]
            abreast.is_read()
            await anyio.wait_all_tasks_blocked()
            assert begun == [0, 1, 2]
            assert abreast.waits_for_store
            abreast.is_stored()
            await anyio.wait_all_tasks_blocked()
            assert begun == [0, 1, 2, 3]

    anyio.run(playing)
