"""Message details and agent workstate events: the two smaller detail calls.

Messages are nested and their `_id` is a UUID, so that nothing comes to depend on flat records or on 24 hex
digits. The page shows the first fields of a message only: the name of its date, `CreatedAtUtc`, is this
simulator's. A workstate event says that an agent enters `WorkstateId`; its time is `Epoch`, in whole Unix
seconds as on the page, and it carries no version.
"""

from collections.abc import Iterable, Iterator
from random import Random

from .people import NAMES, QUEUES, InstantTexts, agents

WORKSTATES = (
    (1, "Available"),
    (2, "Break"),
    (3, 'Lunch "long"'),
    (4, "Training"),
    (5, "After call"),
    (0, "Logged out"),
)


def messages(times: Iterable[int], seed: str) -> Iterator[bytes]:
    random = Random(f"{seed}/messages")
    full = InstantTexts().full
    cast = agents(300, seed)
    for at in times:
        a, b = random.getrandbits(128), random.getrandbits(64)
        key, interaction = _uuid(a), _uuid(a >> 7 ^ b << 60)
        agent_id, first, last, profile = cast[(a >> 70) % 300]
        queue = QUEUES[b % len(QUEUES)][0]
        written = at + 60_000 + (b >> 40 & 0x3FFFF) + (0 if b >> 58 & 31 else 7_200_000)
        waiting = ",".join(
            f'{{"QueueId":{number},"Waiting":{(b >> number % 32) & 7}}}'
            for number, _ in QUEUES[: 1 + (b & 3)]
        )
        yield (
            f'{{"_id":"{key}","TenantId":2,"Type":1,'
            f'"EventType":{20 + (b & 7)},"EventTypeReason":{b >> 3 & 3},'
            f'"CreatedAtUtc":"{full(at)}","InteractionId":"{interaction}","QueueId":{queue},'
            f'"AgentMessage":{{"State":{{"SessionId":"{_uuid(a ^ b)}","AgentId":{agent_id},'
            f'"FirstName":{first},"LastName":{last},"LoggedIn":true,"RoutingProfileId":{profile},'
            '"TenantId":2,"ChannelStates":['
            f'{{"ChannelType":2,"State":{b >> 9 & 3},"Since":"{full(at - 5_000)}"}},'
            f'{{"ChannelType":4,"State":null,"Since":null}}]}},"Waiting":[{waiting}],"Reply":null}},'
            f'"CustomerMessage":{{"Text":{NAMES[b % len(NAMES)]},"Attachments":[]}},'
            f'"RecordWrittenAtUtc":"{full(written)}"}}'
        ).encode()


def workstate_events(times: Iterable[int], seed: str) -> Iterator[bytes]:
    random = Random(f"{seed}/events")
    cast = agents(40, seed)
    for number, at in enumerate(times):
        b = random.getrandbits(64)
        agent_id, first, last, profile = cast[(b >> 8) % len(cast)]
        state, name = WORKSTATES[(b >> 20) % len(WORKSTATES)]
        quarter = at // 900_000 * 900
        name = name.replace('"', '\\"')
        yield (
            f'{{"_id":"{at // 1000:08x}69de5c8ebf{number & 0xFFFFFF:06x}",'
            f'"AgentId":{agent_id},"EventType":24,'
            f'"Epoch":{at // 1000},"EpochDate":{at // 1000},"EpochQuarterHour":{quarter},'
            f'"EpochHour":{at // 3_600_000 * 3600},"FirstName":{first},"LastName":{last},'
            f'"WorkstateId":{state},"WorkstateName":"{name}",'
            f'"QueueId":{QUEUES[b % len(QUEUES)][0]},"RoutingProfileId":{profile},"TenantId":2}}'
        ).encode()


def _uuid(bits: int) -> str:
    h = f"{bits & (1 << 128) - 1:032x}"
    return f"{h[:8]}-{h[8:12]}-4{h[13:16]}-a{h[17:20]}-{h[20:]}"
