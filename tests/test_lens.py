"""dialects/lens.py: values of needed fields are counted, whoever else counts."""

from datetime import UTC, datetime, timedelta

import pytest

from harvester import dialects
from harvester.dialects import Ask, lens
from harvester.dialects.answer import AnswerReader

INTERACTIONS = dialects.load("interactions").select()
START = datetime(2024, 1, 1, tzinfo=UTC)
ASK = Ask(start=START, end=START + timedelta(hours=1), limit=1000, offset=0, order_by=None)
RECORD = (
    b'{"_id":"%d","StartedDateTimeUtc":"2024-01-01T00:00:0%dZ","RecordWrittenAtUtc":"2024-01-01T12:00:00Z"%b}'
)


def page(more: bytes = b"") -> bytes:
    records = [RECORD % (number, number, more if number == 5 else b"") for number in range(9)]
    return b'{"resultCode":0,"data":[%b]}' % b",".join(records)


def disturbed(kind: type, value: object) -> object:
    """As if another thread read a value between any two of ours."""
    next(lens._PASSED)
    return value


def test_a_page_read_while_another_thread_reads_is_as_good_as_one_read_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The other's values are counted with ours; then ours are counted once more, alone, and the page is not
    taken apart for a double that it has not."""
    alone = INTERACTIONS.read(page(), ASK)
    assert len(alone.rows) == 9
    monkeypatch.setattr(lens, "_as_it_is", disturbed)
    monkeypatch.setattr(AnswerReader, "_carefully", None)
    assert INTERACTIONS.read(page(), ASK) == alone


@pytest.mark.parametrize("is_disturbed", [False, True])
@pytest.mark.parametrize("more", [b',"_id":"5"', b',"\\u005fid":"6"', b',"RecordWrittenAtUtc":null'])
def test_a_double_is_found_alone_and_among_others(
    monkeypatch: pytest.MonkeyPatch, more: bytes, is_disturbed: bool
) -> None:
    if is_disturbed:
        monkeypatch.setattr(lens, "_as_it_is", disturbed)
    read = INTERACTIONS.read(page(more), ASK)
    assert len(read.rows) == 8
    assert [reject.reason for reject in read.rejects] == [
        "a field that tells key, date, version or success is there twice"
    ]
