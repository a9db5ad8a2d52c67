"""Manifest, `_SUCCESS` and ledger: what each says of the others, and by which of them the files are judged.

==================  ======================================  ==========================================
manifest            ledger that can be read                 none
==================  ======================================  ==========================================
as it was written   is compared with it; files by manifest  is to be rebuilt; files by manifest
changed, or none    writes it anew; files by ledger         nothing is proven; files by what is legible
of another output   is good; files by ledger                is shown by the files to be none of theirs
==================  ======================================  ==========================================

A copy that was made without `_harvest` has no ledger and lacks none.
"""

from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from harvester.errors import LedgerLost, NoManifest, OtherVersion, StorageError
from harvester.ledger import LEDGER_NAME, Ledger, home_of, is_begun
from harvester.output import Manifest, Standing, read_told
from harvester.output.agreement import (
    AWAY_WITH_IT,
    OF_ANOTHER,
    Disagreement,
    disagreements,
    is_of_another,
)
from harvester.output.manifest import success_is_right
from harvester.output.picture import picture
from harvester.output.soundness import files_of_partitions, last_resort
from harvester.shards import naming
from harvester.shards.disk import Disk
from harvester.verify.verdict import Verdict

_AT_WORK: Final = "a run is at work here: judged by the manifest that stands, without the ledger"
_LEDGER: Final = f"_harvest/{LEDGER_NAME}"


class Witnesses:
    """Of one output, asked once. What is wrong with them goes into the verdict."""

    def __init__(self, out: Path, verdict: Verdict) -> None:
        self._out = out
        self._verdict = verdict
        self._differ = verdict.differ
        self._told: Manifest | None = None
        self._unusable = ""
        """Why the manifest proves nothing; empty where it may."""
        self._way_out = "; run the job again to write it anew from the ledger"
        self._picture: Manifest | None = None
        """What the ledger would have written, where one can be read."""
        self._is_wrong = False
        """It can be read, and cannot have become what it is."""

    def heard(self, *, by_ledger: bool, at_work: bool) -> Manifest | None:
        """What the files are to be judged by. Raises OtherVersion, and StorageError where the ledger cannot
        be read now.
        """
        self._read()
        if at_work:
            return self._while_at_work()
        lost = self._hear_ledger() if by_ledger else None
        if self._unusable:
            return self._without_manifest(lost)
        if lost is not None:
            self._differ("ledger", _LEDGER, f"{lost}: no run can go on; `{self._rebuilding}` restores it")
        if self._told is not None:
            self._success(self._told)
            self._foreign(self._told)
        return self._told

    def way_to_mend_files(self) -> str | None:
        """The commands that have damaged files fetched again; None where nothing tells what they held."""
        if self._picture is not None and not self._is_wrong:
            return "`harvester run JOB.toml --repair` fetches partitions with damaged files again"
        if self._unusable:
            return None
        return f"`{self._rebuilding} --repair`, then `harvester run JOB.toml`, which fetches them again"

    # --- the manifest

    def _read(self) -> None:
        try:
            told = read_told(self._out)
        except OtherVersion:
            raise
        except NoManifest as error:
            self._unusable = error.what
        except StorageError as error:
            self._unusable, self._way_out = str(error), ""
        else:
            self._told, self._unusable = told.manifest, told.changed
            if told.standing is Standing.UNVOUCHED:
                self._verdict.notes.append("the manifest has no digest, as in earlier versions")

    def _while_at_work(self) -> Manifest | None:
        if self._told is None:
            self._differ("manifest", naming.MANIFEST, "a run is at work here; verify when it has ended")
            return None
        if self._unusable:
            self._differ("manifest", naming.MANIFEST, f"{self._unusable}; the run at work writes it anew")
        self._verdict.notes.append(_AT_WORK)
        return self._told

    def _without_manifest(self, lost: str | None) -> Manifest | None:
        if lost is not None:
            self._differ("ledger", _LEDGER, lost)
        if self._picture is None:
            what = f"{self._unusable}, and no ledger can be read here; {last_resort(self._out)}"
            self._differ("manifest", naming.MANIFEST, what)
            return self._told
        self._differ("manifest", naming.MANIFEST, f"{self._unusable}{self._way_out}")
        self._verdict.notes.append("judged by the ledger, without the manifest")
        self._foreign(self._picture)
        return self._picture

    def _success(self, manifest: Manifest) -> None:
        if success_is_right(self._out, complete=manifest.complete):
            return
        if manifest.complete:
            what = "missing, or of another manifest, although all is complete; run the job again to write it"
        else:
            what = (
                "stands although the manifest says that something is missing; run the job again to remove it"
            )
        self._differ("manifest", naming.SUCCESS, what)

    def _foreign(self, manifest: Manifest) -> None:
        """Files that a reader of `dt=*/*` would take for output."""
        told = {shard.path for shard in manifest.shards}
        for path in files_of_partitions(self._out):
            if path not in told:
                what = "is not in the manifest, and a reader of the folder would see it: move it away"
                self._differ("foreign", path, what)

    # --- the ledger

    @property
    def _rebuilding(self) -> str:
        return f"harvester rebuild-ledger {self._out}{' --force' if self._is_wrong else ''}"

    def _hear_ledger(self) -> str | None:
        """Compares it with the manifest where both can be read; else says what is wrong with it."""
        if not home_of(self._out).exists() and not self._unusable:
            self._verdict.notes.append("there is no _harvest here: judged by the manifest alone")
            return None
        if not is_begun(self._out):
            return "is missing"
        found: list[Disagreement] = []
        try:
            with Ledger(home_of(self._out), read_only=True) as ledger:
                self._picture = _picture(ledger)
                if self._told is not None and not self._unusable:
                    found = list(disagreements(self._told, ledger))
                    if any(one.is_wrong for one in found) and is_of_another(
                        self._told, ledger, Disk(self._out), files_of_partitions(self._out)
                    ):
                        self._unusable, self._way_out, found = OF_ANOTHER, f"; {AWAY_WITH_IT}", []
        except LedgerLost as error:
            return error.what
        except (KeyError, TypeError, ValueError) as error:
            self._unusable = f"what it tells cannot be understood: {error}"
        self._is_wrong = any(one.is_wrong for one in found)
        anew = f"`{self._rebuilding}` makes the ledger anew"
        for one in found:
            what = anew if one.is_wrong else "run the job again"
            self._differ("ledger", one.subject, f"{one.detail}; {what}")
        return None


def _picture(ledger: Ledger) -> Manifest | None:
    """None where the job that the ledger tells of is none of ours."""
    job = ledger.job() or {}
    try:
        return picture(
            ledger, "month" if job["partition_by"] == "month" else "day", ZoneInfo(job["time_zone"])
        )
    except (KeyError, TypeError, ValueError):
        return None
