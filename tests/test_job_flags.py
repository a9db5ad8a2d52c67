"""The flags that commands with a job share."""

import pytest

from harvester.cli import main
from harvester.windows import Resolution


@pytest.mark.parametrize("name", ["run", "plan", "config"])
def test_the_help_names_each_resolution(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    words = capsys.readouterr().out.split("--resolution R ", 1)[1].split("--", 1)[0]
    assert [one.value for one in Resolution if one.value not in words] == []
