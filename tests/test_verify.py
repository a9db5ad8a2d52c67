"""verify: names whatever is not as the manifest says, and finds nothing wrong with a good output."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from harvester.cli import main
from harvester.errors import ConfigError
from harvester.ledger import Lock, home_of, read_status
from harvester.shards import read_lines
from harvester.verify import Verdict, verify
from tests.harvesting import World, live, manifest

Lines = list[bytes]


@pytest.fixture(scope="module")
def harvested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verify")

    async def story(world: World) -> None:
        await world.run(output={"shard_bytes": 100_000, "compression": "none"})

    live(folder, story, records=200)
    return folder / "out"


@pytest.fixture
def out(harvested: Path, tmp_path: Path) -> Path:
    return shutil.copytree(harvested, tmp_path / "out")


def first_shards(out: Path) -> list[str]:
    return [shard["path"] for shard in manifest(out)["shards"]]


def retold(out: Path, changes: dict[str, Callable[[Lines], Lines]]) -> None:
    """Changes shards and tells the manifest so, as a harvester with a bug would; the ledger goes."""
    shutil.rmtree(out / "_harvest")
    told = manifest(out)
    counted: dict[str, int] = {}
    for shard in told["shards"]:
        path = out / shard["path"]
        change: Callable[[Lines], Lines] = changes.get(shard["path"], list)
        lines = change(list(read_lines(path)))
        content = b"".join(line + b"\n" for line in lines)
        path.write_bytes(content)
        times = [orjson.loads(line)["StartedDateTimeUtc"] for line in lines]
        shard |= {
            "records": len(lines),
            "bytes": len(content),
            "raw_bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "first": times[0],
            "last": times[-1],
        }
        counted[shard["partition"]] = counted.get(shard["partition"], 0) + len(lines)
    for partition in told["partitions"]:
        partition["records"] = counted[partition["partition"]]
    told["records"] = sum(counted.values())
    tell(out, told)


def tell(out: Path, told: dict[str, Any]) -> None:
    """A manifest of a version without digests, which `_SUCCESS` alone vouches for."""
    told.pop("digest", None)
    content = orjson.dumps(told)
    (out / "_manifest.json").write_bytes(content)
    (out / "_SUCCESS").write_text(hashlib.sha256(content).hexdigest())


def kinds(verdict: Verdict) -> set[str]:
    return {difference.kind for difference in verdict.differences}


def test_a_good_output_has_no_differences(out: Path) -> None:
    verdict = verify(out)
    assert verdict.is_good, verdict.differences
    assert (verdict.records, verdict.partitions, verdict.complete) == (200, 2, True)
    retold(out, {})
    verdict = verify(out)
    assert verdict.is_good, verdict.differences


def test_one_flipped_bit_is_found_and_its_file_named(out: Path) -> None:
    path = out / first_shards(out)[1]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    (difference,) = (d for d in verify(out).differences if d.kind == "sha256")
    assert difference.subject == first_shards(out)[1]


def test_a_deleted_shard_is_missing(out: Path) -> None:
    (out / first_shards(out)[0]).unlink()
    assert {"missing", "count"} <= kinds(verify(out))


def test_a_cut_shard_is_found_by_size_digest_and_count(out: Path) -> None:
    path = out / first_shards(out)[0]
    path.write_bytes(path.read_bytes()[:-100])
    size_bytes = path.stat().st_size
    verdict = verify(out)
    assert {"size", "sha256", "count", "unreadable"} <= kinds(verdict)
    assert any(f"{size_bytes} on disk" in one.detail for one in verdict.differences if one.kind == "size")


def test_a_shard_cut_behind_a_line_is_found_though_every_line_of_it_is_good(out: Path) -> None:
    path = out / first_shards(out)[0]
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex(b"\n", 0, -1) + 1])
    verdict = verify(out)
    assert {"size", "sha256", "count"} == kinds(verdict)
    assert path.relative_to(out).as_posix() in {one.subject for one in verdict.differences}


def test_a_file_that_nobody_wrote_is_foreign(out: Path) -> None:
    (out / "dt=2024-01-01" / "part-00099.jsonl").write_text("{}\n")
    assert kinds(verify(out)) == {"foreign"}


def test_a_key_that_stands_twice_in_a_partition_is_named(out: Path) -> None:
    shard = first_shards(out)[0]
    retold(out, {shard: lambda lines: [*lines, lines[-1]]})
    (difference,) = (d for d in verify(out).differences if d.kind == "doubled")
    last = list(read_lines(out / shard))[-1]
    assert orjson.loads(last)["_id"] in difference.subject


def test_a_key_that_stands_in_two_partitions_is_named_with_both(out: Path) -> None:
    shards = first_shards(out)
    stray = next(read_lines(out / shards[0]))
    retold(out, {shards[-1]: lambda lines: [stray, *lines]})
    differences = verify(out).differences
    (doubled,) = (d for d in differences if d.kind == "doubled")
    assert shards[0] in doubled.detail
    assert shards[-1] in doubled.detail
    assert "partition" in {d.kind for d in differences}


def test_records_out_of_order_are_found_inside_a_shard_and_between_two(out: Path) -> None:
    shards = first_shards(out)
    retold(out, {shards[0]: lambda lines: [lines[1], lines[0], *lines[2:]]})
    (difference,) = (d for d in verify(out).differences if d.kind == "order")
    assert difference.subject == f"{shards[0]}:2"


def test_shards_in_the_wrong_order_are_found(out: Path) -> None:
    shutil.rmtree(out / "_harvest")
    told = manifest(out)
    told["shards"][0], told["shards"][1] = told["shards"][1], told["shards"][0]
    tell(out, told)
    assert kinds(verify(out)) == {"order"}


def test_a_line_that_is_no_record_is_named(out: Path) -> None:
    shard = first_shards(out)[0]
    retold(out, {shard: lambda lines: lines})
    path = out / shard
    path.write_bytes(path.read_bytes() + b'{"no":"key"}\n')
    assert f"{shard}:" in next(d.subject for d in verify(out).differences if d.kind == "unreadable")


def test_a_success_that_vouches_for_another_manifest_is_found(out: Path) -> None:
    (out / "_SUCCESS").write_text("0" * 64)
    assert kinds(verify(out)) == {"manifest"}


def test_a_manifest_that_disagrees_with_the_ledger_is_found(out: Path) -> None:
    """And is the one to blame where a shard stands that the ledger alone knows."""
    told = manifest(out)
    del told["shards"][-1]
    tell(out, told)
    (difference,) = verify(out).differences
    assert difference.kind == "manifest"
    assert "write it anew from the ledger" in difference.detail


def test_a_begun_output_without_a_manifest_is_a_difference_and_no_output_is_a_usage_error(
    out: Path, tmp_path: Path
) -> None:
    (out / "_manifest.json").unlink()
    assert kinds(verify(out)) == {"manifest"}
    with pytest.raises(ConfigError, match="no output here"):
        verify(tmp_path / "nowhere")


def test_nothing_is_written_by_looking(out: Path) -> None:
    before = {
        path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file() and "-shm" not in path.name
    }
    verify(out)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_copy_without_its_ledger_is_judged_by_its_manifest_and_says_so(out: Path) -> None:
    shutil.rmtree(out / "_harvest")
    verdict = verify(out)
    assert verdict.is_good
    assert verdict.notes == ["there is no _harvest here: judged by the manifest alone"]


def test_a_ledger_that_is_gone_from_its_place_is_a_difference(out: Path) -> None:
    (out / "_harvest" / "ledger.sqlite").unlink()
    assert kinds(verify(out)) == {"ledger"}


def test_looking_at_an_output_makes_no_file_in_it(out: Path) -> None:
    before = sorted(out.rglob("*"))
    verify(out)
    read_status(out)
    assert sorted(out.rglob("*")) == before


def test_while_a_run_is_at_work_a_missing_manifest_is_no_sign_of_death(out: Path) -> None:
    (out / "_manifest.json").unlink()
    with Lock(home_of(out)):
        (difference,) = verify(out).differences
    assert "a run is at work" in difference.detail


def test_a_success_that_is_a_folder_is_a_difference(out: Path) -> None:
    (out / "_SUCCESS").unlink()
    (out / "_SUCCESS").mkdir()
    assert kinds(verify(out)) == {"manifest"}


def test_gaps_are_told_as_gaps_whatever_knows_of_them(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The manifest, or without it the ledger alone: so the sentence names neither."""
    gap = {"start": "2024-01-01T00:00:00.000Z", "end": "2024-01-01T01:00:00.000Z", "error": "x"}
    tell(out, manifest(out) | {"complete": False, "gaps": [gap]})
    shutil.rmtree(out / "_harvest")
    main(["verify", str(out)])
    assert "not all of it: 1 gap; run the job again to fill them" in capsys.readouterr().out
