"""Compression as a manner of the simulator, not a fault."""

import zlib

from harvester.testing import Settings, running
from harvester.transport.decoding import decode
from tests.raw_client import ask, call


def test_answers_are_compressed_where_the_client_accepts_it() -> None:
    with running(Settings(records=300, gzip=True)) as simulator:
        key = {"x-api-key": simulator.token}
        plain_reply = ask(simulator, headers=key)
        packed = [ask(simulator, headers={**key, "Accept-Encoding": "gzip"}) for _ in range(2)]
        assert "content-encoding" not in plain_reply.headers
        for reply in packed:
            assert reply.headers["content-encoding"] == "gzip"
            assert zlib.decompress(reply.body, 31) == plain_reply.body
        call(simulator, "POST", "/_simulator/faults", [{"delete": 1}])
        assert len(ask(simulator).ids) == len(plain_reply.ids) - 1
        after = ask(simulator, headers={**key, "Accept-Encoding": "gzip"})
        assert zlib.decompress(after.body, 31) != plain_reply.body, "a changed table is packed anew"


def test_zstd_goes_before_gzip_where_the_client_accepts_both() -> None:
    with running(Settings(records=300, gzip=True, zstd=True)) as simulator:
        key = {"x-api-key": simulator.token}
        plain = ask(simulator, headers=key).body
        both = ask(simulator, headers={**key, "Accept-Encoding": "gzip, zstd"})
        assert both.headers["content-encoding"] == "zstd"
        assert decode(both.body, "zstd", max_bytes=1 << 24, what="the answer") == plain
        one = ask(simulator, headers={**key, "Accept-Encoding": "gzip"})
        assert one.headers["content-encoding"] == "gzip"
        assert zlib.decompress(one.body, 31) == plain
