"""The proofs, declared: which promise, how it is tried, the command, and how its closing line is told.

A command ends with 0 only where nothing was wrong. Its last line on stdout is an object of JSON, or pytest's
closing line; `told` is filled from the first, or from the words of the second.
"""

from dataclasses import dataclass
from typing import Final

from tests.fuzz.targets import TARGETS

FUZZ_S: Final = 60
"""For each target; the first minute finds most of the paths that the seeds do not reach."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """`told` is a format string over the keys of the JSON line; `{line}` is the line itself."""

    name: str
    promise: str
    how: str
    command: str
    told: str
    minutes: float
    """That it takes, about, on two cores with nothing else to do."""
    options: str = ""
    """What belongs to the command unless `scripts/guarantees --with` says otherwise."""
    code: tuple[str, ...] = ()
    """Folders and files beside the script and the tests that the command names."""

    def stands_on(self) -> tuple[str, ...]:
        words = self.command.split()
        return words[0], *(word for word in words if word.startswith("tests/")), *self.code


_READ: Final = {
    "page": "a page",
    "dialect": "a dialect file",
    "job": "a JOB.toml",
    "headers": "an answer's headers",
    "date": "a time",
    "contract": "contract.json",
    "encoding": "a compressed answer",
    "manifest": "a manifest",
    "ledger": "what a ledger holds",
    "shard": "a shard",
}

PROOFS = (
    Proof(
        name="crash",
        minutes=8,
        promise="Killed anywhere, and once more while it recovers, a run that is repeated ends exact",
        how="a process is killed before each call that changes the disk, SQLite's own included, and in "
        "the middle of each write; then again in the recovery; compared with the truth and with "
        "the bytes of an undisturbed run",
        command="scripts/crash-sweep",
        told="{calls} calls, {points} points, {killed} kills and {killed in the recovery} in the "
        "recovery; {recovered} of {recovered} exact, {number wrong} wrong",
        code=("tests/disks",),
    ),
    Proof(
        name="power-loss",
        minutes=20,
        promise="So does one whose machine lost its power",
        how="the calls of a run are recorded, and what a power loss may leave after each of them is "
        "laid out: unsynced data gone, in part or torn, renames, creations and removals undone in "
        "any legal order, SQLite's files included; each state is recovered from",
        command="scripts/power-loss-sweep",
        told="{line}",
        code=("tests/disks",),
    ),
    Proof(
        name="power-loss-mutants",
        minutes=7,
        promise="and the sweep sees what it is for",
        how="the same with the program broken on purpose: no fsync, no fsync of folders, the ledger "
        "before the data, `synchronous=OFF`",
        command="scripts/power-loss-sweep --mutants",
        told="{line}",
        code=("tests/disks",),
    ),
    Proof(
        name="broken-disk",
        minutes=15,
        promise="A full or broken disk ends a run with 7, claims nothing, and the next run ends exact",
        how="ENOSPC, EIO, EROFS, EACCES and EDQUOT at each write, fsync, rename and commit",
        command="scripts/broken-disk-sweep",
        told="{line}",
        code=("tests/disks",),
    ),
    Proof(
        name="simulation",
        minutes=35,
        promise="Whatever the source does and whenever the run ends, records come once and none is lost",
        how="stories drawn by seed under a virtual clock: faults, outages, drains, crashes, resumes; "
        "the scheduler, limiter, retries and sink are the real ones",
        command="scripts/simulate-sweep",
        told="{seeds} seeds, {runs} runs, {crashes} crashes, {requests} requests, {virtual_h} hours of "
        "virtual time; {wrong} wrong",
        code=("tests/simulation",),
    ),
    Proof(
        name="simulation-mutants",
        minutes=3,
        promise="and the stories see a broken guard",
        how="a guard is taken out at a time",
        command="scripts/simulate-sweep --mutants",
        options="--seeds 300",
        told="{line}",
        code=("tests/simulation",),
    ),
    Proof(
        name="faults",
        minutes=20,
        promise="Servers that do several things wrong at once cost no record",
        how="two to five of the behaviours of [behaviours.md](behaviours.md) drawn by seed, over real "
        "sockets",
        command="scripts/fault-sweep",
        told="{line}",
        code=("tests/fault_sweep.py", "tests/drawing.py"),
    ),
    Proof(
        name="adversary",
        minutes=8,
        promise="Neither do servers that do their worst",
        how="servers drawn by seed against the reading of pages alone",
        command="scripts/adversary",
        told="{line}",
        code=(
            "tests/test_pages_adversary.py",
            "tests/test_pages_moving_ties.py",
            "tests/test_pages_order_dropped.py",
            "tests/test_pages_small.py",
        ),
    ),
    Proof(
        name="misfortunes",
        minutes=5,
        promise="Damage after a run is named, and what the messages say mends it",
        how="seeded sequences of kills, outages, flipped bits, cut, removed and added files, lost, "
        "aged and damaged ledgers, `--repair` and `rebuild-ledger`",
        command="scripts/misfortune-sweep",
        options="--seeds 0 200",
        told="{line}",
        code=("tests/misfortune_sweep.py", "tests/misfortunes.py"),
    ),
    Proof(
        name="damages",
        minutes=1,
        promise="Whatever two of manifest, `_SUCCESS`, ledger and shards are damaged, it is named, and three "
        "commands at most, those that the messages name, mend it",
        how="pairs drawn by seed: each key of the manifest flipped, changed or removed, finished or not; the "
        "ledger lost, older or flipped; what is advised is done, and compared with an undisturbed run",
        command="scripts/damage-sweep",
        told="{seeds} seeds, {ends}, {number wrong} wrong",
        code=("tests/damages",),
    ),
    Proof(
        name="zones",
        minutes=2,
        promise="Windows and partitions tile every span in every zone",
        how="all jumps of all clocks of the tz database",
        command="scripts/zone-sweep",
        told="{line}",
        code=("tests/test_windows.py",),
    ),
    Proof(
        name="soak",
        minutes=61,
        promise="Nothing grows over time, and nothing goes wrong in an hour of all faults",
        how="runs that are killed, stopped, resumed, extended and begun anew, and one that goes on, "
        "against simulators with their faults on; records, memory, files and threads compared each "
        "minute",
        command="scripts/soak",
        told="{minutes} minutes; campaigns: {campaigns[runs]} runs, {campaigns[stages_exact]} "
        "comparisons, {campaigns[records_compared]} records; the long run: "
        "{long_run[records_compared]} records, {long_run[samples]} samples of its memory; nothing "
        "wrong",
        code=("tests/soak",),
    ),
    Proof(
        name="ledger",
        minutes=1,
        promise="A ledger that is locked, damaged, gone, older or newer is told, and made anew from "
        "manifest and shards",
        how="tests: each damage, each older schema, `rebuild-ledger`, `run --repair`",
        command="scripts/test -q tests/test_broken_ledgers.py tests/test_ledger_schema.py "
        "tests/test_rebuild.py tests/test_repair.py",
        told="{line}",
    ),
    Proof(
        name="two",
        minutes=1,
        promise="Two runs, readers during a run, a copied output and a clock that jumps do no harm",
        how="tests with processes of their own",
        command="scripts/test -q tests/test_two_of_them.py tests/test_clocks.py",
        told="{line}",
    ),
    Proof(
        name="token",
        minutes=1,
        promise="The token is nowhere, and goes to one origin only",
        how="tests: a canary token is sought in all that is left, printed or logged after each command "
        "and each failure",
        command="scripts/test -q tests/test_secrets.py tests/test_transport_session.py "
        "tests/test_transport_auth.py",
        told="{line}",
    ),
    Proof(
        name="doors",
        minutes=1,
        promise="TLS is verified, everything from outside is bounded and escaped, links are not followed, "
        "pseudonyms hold",
        how="tests: other authorities and names, a 300 MiB bomb, planted links, umasks, hostile texts, "
        "test vectors",
        command="scripts/test -q tests/test_transport_tls.py tests/test_bounds.py tests/test_syscalls.py "
        "tests/test_pseudonyms.py",
        told="{line}",
    ),
    Proof(
        name="doors-mutants",
        minutes=5,
        promise="and the tests see a door that was left open",
        how="each guard of [doors.md](doors.md) is taken out at a time",
        command="scripts/door-mutants",
        told="{line}",
        code=("tests/doors",),
    ),
    *(
        Proof(
            name=f"fuzz-{target}",
            minutes=FUZZ_S / 60,
            promise=f"No bytes in place of {what} bring a traceback, a hang or unbounded memory",
            how="atheris, led by coverage; each input at most 20 s and 640 MiB",
            command=f"scripts/fuzz --target {target}",
            options=f"--seconds {FUZZ_S}",
            told="{inputs} inputs, {coverage} edges; none found",
            code=("tests/fuzz",),
        )
        for target, what in _READ.items()
    ),
)
assert _READ.keys() == TARGETS.keys()
