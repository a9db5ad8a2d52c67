"""What a probe has found out about the source, where the output holds it: what a run begins with.

Only what can do no harm when it is out of date is begun with: a smaller page, no trust in an order, and that
records behind a key may be asked for, since each such page shows whether that is still so. That
a page of some size is honoured, or that an order is kept, each run has to see for itself; and that an offset
is ignored too, since to believe it wrongly would end in windows that cannot be split.
"""

from harvester import contract
from harvester.contract import Contract, Recheck
from harvester.events import ContractChanged, Emit
from harvester.job import Job
from harvester.pages import Served
from harvester.shards.disk import plain

_AGAIN = "it is not used; run harvester probe again"


def known_contract(job: Job, emit: Emit) -> Contract | None:
    """None where there is none that can be used, and where there is one all the same, that is told."""
    try:
        found = contract.decode(plain(job.output.folder / contract.FILE).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        emit(ContractChanged(fact="contract.json", known="", seen=f"cannot be read ({error}); {_AGAIN}"))
        return None
    ours = (job.transport.base_url, job.dialect.name)
    if (found.source, found.dialect) != ours:
        told = f"{found.dialect} from {found.source}"
        emit(ContractChanged(fact="source", known=told, seen=f"{ours[1]} from {ours[0]}; {_AGAIN}"))
        return None
    return found


def begin_with(found: Contract, served: Served) -> Recheck:
    if found.largest_page is not None:
        served.limit = min(served.limit, found.largest_page)
    if served.order_kept is None:
        served.order_kept = found.keeps_order
    served.seeks = found.value("seek") == "works"
    return Recheck(found, limit=served.limit)
