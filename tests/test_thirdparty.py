"""Another API, served and filled by others, is harvested by the program as it is and a TOML file."""

import sys
from pathlib import Path
from subprocess import run

import orjson
import pytest

from harvester.shards import read_lines
from harvester.verify import verify
from tests.harvesting import manifest
from tests.thirdparty import DIALECT, ThirdParty

JOB = """
[source]
dialect = "{dialect}"
base_url = "{base_url}"
auth = "none"
[span]
start = 2013-01-01
end = 2014-01-01
time_zone = "America/New_York"
resolution = "Day"
[fetch]
page_size = 50
[output]
url = "{out}"
partition_by = "month"
"""


@pytest.mark.usefixtures("weather")
def test_a_year_of_others_data_arrives_whole_by_a_toml_file_alone(
    weather: ThirdParty, tmp_path: Path
) -> None:
    job, out = tmp_path / "job.toml", tmp_path / "out"
    job.write_text(JOB.format(dialect=DIALECT, base_url=weather.base_url, out=out))
    done = run([sys.executable, "-m", "harvester", "run", str(job)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    summary = orjson.loads(done.stdout.splitlines()[-1])
    records = [
        orjson.loads(line) for shard in manifest(out)["shards"] for line in read_lines(out / shard["path"])
    ]
    assert len(records) == summary["records"] > 20_000
    assert sorted((record["id"], record["time_hour"]) for record in records) == weather.records()
    verdict = verify(out)
    assert verdict.is_good, verdict.differences
    assert verdict.partitions == 12
