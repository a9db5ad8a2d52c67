"""Interaction details: one record of the seed page after the other, all its fields, about 3 KB of compact
JSON each.

Rendered as text from pieces that are made once (agents, callers, figures, the calendar fields of each quarter
hour), with two random draws a record: some 20 microseconds each. The same seed gives the same bytes in every
process.

Traits: one record in 32 was written again hours or days later (`RecordWrittenAtUtc` long after the end), one
in 512 shares its `InteractionId` with the record before under an `_id` of its own, ids follow the time of
writing and so not the time of starting; one in 256 is first written hours or days after its end.
"""

from collections.abc import Iterable, Iterator
from random import Random

from .people import NUMBERS, QUEUES, InstantTexts, agents, phone

_HOUR_MS = 3_600_000
_QUARTER_MS = 900_000
_DAY_MS = 86_400_000
_LOCAL_MIDNIGHT_MS = 5 * _HOUR_MS  # the tenant's days begin at 05:00 UTC, as in the page's example


def interactions(times: Iterable[int], seed: str) -> Iterator[bytes]:
    """The records that start at `times`, in that order, each one line of JSON."""
    random = Random(f"{seed}/interactions")
    texts = InstantTexts()
    full = texts.full
    cast = [_agent(*one) for one in agents(300, seed)]
    callers = [_caller(random) for _ in range(512)]
    figures = [_figures(random) for _ in range(512)]
    queued = [
        _Calendar(texts, name) for name in ("Started", "Ended", "FirstAccepted", "FirstQueued", "Abandoned")
    ]
    started_in, ended_in, accepted_in, queued_in, abandoned_in = queued
    interaction = ""
    for number, started in enumerate(times):
        a, b = random.getrandbits(128), random.getrandbits(64)
        if number == 0 or b & 511:
            h = f"{a:032x}"
            interaction = f"{h[:8]}-{h[8:12]}-4{h[13:16]}-a{h[17:20]}-{h[20:]}"
        duration = 5_000 + (b >> 9) % 600_000 + (1_800_000 if not b >> 30 & 15 else 0)
        ended = started + duration
        first_written = ended + 60_000 + (a & 0x7FFFF)
        if not a >> 88 & 255:
            first_written += _HOUR_MS + (a >> 32) % (2 * _DAY_MS)
        written = first_written + (_HOUR_MS + (a >> 20) % (10 * _DAY_MS) if not a >> 60 & 31 else 0)
        kind = b >> 60 & 7  # 0: abandoned, 1 to 3: accepted at once, else queued first
        has_queue = kind == 0 or kind > 3
        ringing = 1_000 + (b >> 40 & 4095)
        dequeued = min(started + 2_000 + (b >> 20 & 0xFFFF), ended)
        delivered = min((dequeued if has_queue else started) + ringing, ended)
        accepted = min(delivered + (b >> 44 & 8191), ended)
        written_text, at = full(written), full(started)
        quarter_written = (written - written % _QUARTER_MS) // 1000
        queue = QUEUES[b % len(QUEUES)][0] if has_queue else "null"
        if has_queue:
            queue_times = f'"FirstQueuedAtUtc":"{at}","FirstDequeuedAtUtc":"{full(dequeued)}",'
            queue_epochs = f'"FirstQueuedEpoch":{started // 1000},"FirstDequeuedEpoch":{dequeued // 1000},'
            queue_calendar, queue_s = queued_in.periods(started), f"{(dequeued - started) / 1000}"
        else:
            queue_times = '"FirstQueuedAtUtc":null,"FirstDequeuedAtUtc":null,'
            queue_epochs = '"FirstQueuedEpoch":null,"FirstDequeuedEpoch":null,'
            queue_calendar, queue_s = queued_in.nulls, "null"
        if kind:
            accept_times = (
                f'"FirstAcceptedAtUtc":"{full(accepted)}","FirstDeliveredAtUtc":"{full(delivered)}",'
                '"AbandonedAtUtc":null,'
            )
            accept_epochs = (
                f'"FirstAcceptedEpoch":{accepted // 1000},"FirstDeliveredEpoch":{delivered // 1000},'
            )
            accept_calendar, abandon_calendar = accepted_in.periods(accepted), abandoned_in.nulls
            accept_s, abandon_s, handle_s = f"{(accepted - delivered) / 1000}", "null", NUMBERS[b & 15]
            flags = '"IsAnswered":true,"IsAbandoned":false,'
            applied = '"AbandonedApplied":0,"AnsweredApplied":1,'
            abandon_type = 0
        else:
            accept_times = (
                f'"FirstAcceptedAtUtc":null,"FirstDeliveredAtUtc":null,"AbandonedAtUtc":"{full(ended)}",'
            )
            accept_epochs = '"FirstAcceptedEpoch":null,"FirstDeliveredEpoch":null,'
            accept_calendar, abandon_calendar = accepted_in.nulls, abandoned_in.periods(ended)
            accept_s, abandon_s, handle_s = "null", f"{duration / 1000}", "null"
            flags = '"IsAnswered":false,"IsAbandoned":true,'
            applied = '"AbandonedApplied":1,"AnsweredApplied":0,'
            abandon_type = 1 + (b & 1)
        yield (
            f'{{"_id":"{first_written // 1000:08x}fcd28a9d58{number & 0xFFFFFF:06x}",'
            f'"InteractionId":"{interaction}","InteractionIdStr":"{interaction}",'
            f'"StartedDateTimeUtc":"{at}","EndedDateTimeUtc":"{full(ended)}",{queue_times}{accept_times}'
            f"{figures[b >> 48 & 511]}"
            f'"FirstRollupAtUtc":"{full(first_written)}","MostRecentRollupAtUtc":"{written_text}",'
            f'"QueueId":{queue},"TicketId":null,"TenantId":2,'
            f"{cast[(a >> 70) % 300]}{callers[b >> 52 & 511]}"
            f'"ChannelUniqueIdentifier":"{interaction}","ChannelProviderType":2,"ChannelType":2,'
            f'"ServiceLevelSeconds":{30 if has_queue else 0},"Direction":{1 + (b >> 5 & 1)},'
            '"IsCRMUpdateEvent":false,"DataErrorDetected":false,'
            f"{started_in.date(started)}{ended_in.date(ended)}"
            f'"InteractionTime":{duration / 1000},"AcceptTime":{accept_s},"QueuedTime":{queue_s},'
            f'"AbandonedTime":{abandon_s},{started_in.epochs(started)}{ended_in.epochs(ended)}'
            f'"RecordWrittenAtUtc":"{written_text}","RecordWrittenAtEpoch":{quarter_written},'
            f'{queue_epochs}{accept_epochs}"AbandonType":{abandon_type},'
            f'"IsInServiceLevel":{(b >> 7 & 1) - 1},'
            f'"AgentHandleTime":{handle_s},{flags}"HasQueued":{"true" if has_queue else "false"},'
            f'"WasDelivered":{"true" if kind else "false"},'
            f"{abandon_calendar}{ended_in.periods(ended)}{accept_calendar}{queue_calendar}{applied}"
            '"IsInServiceLevelApplied":0,"ServiceLevelApplies":0,'
            f'{started_in.periods(started)}"TotalWaitTime":{queue_s}}}'
        ).encode()


def slim_interactions(times: Iterable[int], seed: str) -> Iterator[bytes]:
    """Records of 150 bytes with nothing but key, date, version and an agent, for millions of them: what is
    counted, or compared by key and version, needs no more. Ids follow the time of writing here too.
    """
    random = Random(f"{seed}/interactions")
    full = InstantTexts().full
    for number, started in enumerate(times):
        a = random.getrandbits(64)
        written = started + 65_000 + a % 600_000
        yield (
            f'{{"_id":"{written // 1000:08x}fcd28a9d58{number & 0xFFFFFF:06x}",'
            f'"StartedDateTimeUtc":"{full(started)}","AgentId":{10_600 + (a >> 40) % 300},'
            f'"RecordWrittenAtUtc":"{full(written)}"}}'
        ).encode()


def _agent(agent_id: int, first: str, last: str, profile: int) -> str:
    return (
        f'"AgentId":{agent_id},"AgentFirstName":{first},"AgentLastName":{last},"RoutingProfileId":{profile},'
    )


def _caller(random: Random) -> str:
    place = (
        '"FromCity":"Saint \\"Paul\\"","FromState":"MN","FromZip":"00501","FromCountry":"US",'
        '"StirVerstat":"A",'
        if random.random() < 0.3
        else '"FromCity":null,"FromState":null,"FromZip":null,"FromCountry":null,"StirVerstat":null,'
    )
    return f'"ANI":{phone(random.random())},"DNIS":{phone(random.random())},{place}'


def _figures(random: Random) -> str:
    def number() -> str:
        return NUMBERS[int(random.random() * len(NUMBERS))]

    def maybe() -> str:
        return number() if random.random() < 0.4 else "null"

    def whole(below: int) -> int:
        return int(random.random() * below)

    return (
        f'"EndedReason":{whole(30)},"EventCount":{5 + whole(90)},"CurrentQueueCount":0,'
        f'"AgentReplyCount":{whole(9)},"CustomerReplyCount":{whole(9)},"AgentFirstResponseTime":{maybe()},'
        f'"TotalTimeWaitingOnAgent":{maybe()},"TotalTimeWaitingOnCustomer":{maybe()},'
        f'"TotalTalkTime":{number()},"TotalRingTime":{number()},"TotalHoldTime":{number()},'
        f'"TotalMuteTime":{number()},"WorkflowTime":{maybe()},"HoldCount":{whole(6)},"MuteCount":{whole(6)},'
        f'"LongestTimeWaitingOnAgent":{maybe()},"LongestTimeWaitingOnCustomer":{maybe()},'
    )


class _Calendar:
    """The fields that tell in which day, hour and quarter hour an instant lies, rendered once for each
    quarter.
    """

    def __init__(self, texts: InstantTexts, name: str) -> None:
        self._whole = texts.whole
        self._name = name
        self._periods: dict[int, str] = {}
        self._epochs: dict[int, str] = {}
        self._dates: dict[int, str] = {}
        self.nulls = f'"{name}QuarterHourUtc":null,"{name}HourUtc":null,"{name}DayUtc":null,'

    def periods(self, ms: int) -> str:
        quarter = ms // _QUARTER_MS
        known = self._periods.get(quarter)
        if known is None:
            name, whole = self._name, self._whole
            day = (ms - _LOCAL_MIDNIGHT_MS) // _DAY_MS * _DAY_MS + _LOCAL_MIDNIGHT_MS
            known = self._periods[quarter] = (
                f'"{name}DayUtc":"{whole(day)}","{name}HourUtc":"{whole(ms - ms % _HOUR_MS)}",'
                f'"{name}QuarterHourUtc":"{whole(quarter * _QUARTER_MS)}",'
            )
        return known

    def epochs(self, ms: int) -> str:
        quarter = ms // _QUARTER_MS
        known = self._epochs.get(quarter)
        if known is None:
            name = self._name
            known = self._epochs[quarter] = (
                f'"{name}EpochDate":{ms // _DAY_MS * 86_400},'
                f'"{name}EpochQuarterHour":{quarter * 900},"{name}EpochHour":{ms // _HOUR_MS * 3600},'
            )
        return f'"{self._name}Epoch":{ms // 1000},{known}'

    def date(self, ms: int) -> str:
        day = ms // _DAY_MS
        known = self._dates.get(day)
        if known is None:
            known = self._dates[day] = f'"{self._name}DateUtc":"{self._whole(day * _DAY_MS)}",'
        return known
