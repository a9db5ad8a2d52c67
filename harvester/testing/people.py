"""The cast: agents, queues, callers and the clock's texts that the simulator's records are put together from.

Everything here is rendered to JSON text once. The names are chosen to break whoever cuts JSON with regular
expressions, splits on lines or writes records anew: quotes, backslashes, `},{`, escapes that decode to
themselves, emoji raw and as surrogate pairs, U+2028. The numbers are literals that a float would print
differently.
"""

from datetime import date, timedelta
from functools import cache
from random import Random

QUEUES: tuple[tuple[int, str], ...] = tuple(
    (100 + i, name)
    for i, name in enumerate(
        (
            "Sales",
            "Billing",
            'Support "tier 1"',
            "Support 2",
            "Returns",
            "Outbound",
            "Español",
            "After hours",
            "VIP 🌟",
        )
    )
)

TIME_ZONES = (
    "UTC",
    "America/New_York",
    "America/Chicago",
    "America/Denver",
    "America/Los_Angeles",
    "America/St_Johns",
    "America/Sao_Paulo",
    "Europe/London",
    "Europe/Berlin",
    "Europe/Dublin",
    "Africa/Casablanca",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Asia/Tokyo",
    "Australia/Lord_Howe",
    "Australia/Sydney",
    "Pacific/Apia",
    "Pacific/Auckland",
)

# JSON string literals, as they are sent.
NAMES = (
    '"Agent First Name"',
    '"Ann"',
    '"José"',
    '"Zo\\u00eb"',
    '"O\'Neill"',
    '"\\"Skip\\" Jones"',
    '"back\\\\slash"',
    '"brace},{brace"',
    '"😀 Joy"',
    '"\\ud83d\\ude80 Rocket"',
    '"line\u2028separator"',
    '"line\\u2028escaped"',
    '"a\\/b"',
    '"tab\\tnew\\nline"',
    '"名前"',
    '"Ünïcödé"',
    '""',
    '"],\\"data\\":[{"',
    '"null"',
    '"Smith"',
    '"García"',
    '"Nguyễn"',
    '"Müller"',
    '"Ivanova"',
    '"Okafor"',
    '"Silva"',
    '"McDonald"',
    '"Tanaka"',
    '"\u0085"',
)

NUMBERS = (
    "323.08310220000004",
    "0.30000000000000004",
    "7.4597789",
    "32.5941229",
    "27.7560036",
    "0.0",
    "12.50",
    "1E2",
    "-0.0",
    "488.3968609",
    "1e-7",
    "9007199254740993",
    "0.1",
    "3",
    "483.0579721",
    "2.220446049250313e-16",
)


def agents(count: int, seed: str) -> list[tuple[int, str, str, int]]:
    """Id, first and last name as JSON literals, routing profile."""
    random = Random(f"{seed}/agents").random
    pick = len(NAMES)
    return [
        (10_600 + i, NAMES[i % pick], NAMES[int(random() * pick)], 1 + int(random() * 9))
        for i in range(count)
    ]


def phone(draw: float) -> str:
    return f'"+1614{int(draw * 9_000_000) + 1_000_000}"'


class InstantTexts:
    """`2022-07-25T15:08:57.025Z` from milliseconds, several times faster than datetime does it."""

    def __init__(self) -> None:
        self._seconds = _seconds()
        self._millis = _millis()
        self._days = _Days()

    def full(self, ms: int) -> str:
        day, rest = divmod(ms, 86_400_000)
        second, milli = divmod(rest, 1000)
        return self._days[day] + self._seconds[second] + self._millis[milli]

    def whole(self, ms: int) -> str:
        """The same without the milliseconds."""
        day, rest = divmod(ms, 86_400_000)
        return self._days[day] + self._seconds[rest // 1000] + "Z"


@cache
def _seconds() -> list[str]:
    return [f"{h:02}:{m:02}:{s:02}" for h in range(24) for m in range(60) for s in range(60)]


@cache
def _millis() -> list[str]:
    return [f".{ms:03}Z" for ms in range(1000)]


class _Days(dict[int, str]):
    def __missing__(self, day: int) -> str:
        text = self[day] = (date(1970, 1, 1) + timedelta(days=day)).isoformat() + "T"
        return text
