"""A sealed build becomes its partition's output: files under their names first, then one transaction.

A name that somebody else's file has is not taken, and no name is given to other bytes while the generation
before is in use (see shards/naming.py).
"""

from collections.abc import Sequence
from dataclasses import replace

from harvester.errors import StorageError
from harvester.events import Emit, PartitionPublished
from harvester.ledger import Build, Ledger
from harvester.shards import Receipt, naming
from harvester.shards.disk import Disk
from harvester.windows import Partition


class Publishing:
    """Of one output. `suffix` is how its shards' names end."""

    def __init__(self, disk: Disk, ledger: Ledger, *, suffix: str, emit: Emit) -> None:
        self._disk = disk
        self._ledger = ledger
        self._suffix = suffix
        self._emit = emit

    def names(
        self, partition: Partition, shards: Sequence[Receipt], before: Sequence[Build], *, complete: bool
    ) -> list[str]:
        """A path for each shard, given what the partition had before. Raises StorageError where a stranger's
        file is in the way."""
        taken = {
            old.path: old.sha256 for build in before if build.generation is not None for old in build.receipts
        }
        return [self._name(partition, number, shard, taken, complete) for number, shard in enumerate(shards)]

    def _name(
        self, partition: Partition, number: int, shard: Receipt, taken: dict[str, str], complete: bool
    ) -> str:
        plain = naming.plain(partition.name, number, self._suffix)
        names = [naming.digested(partition.name, number, self._suffix, shard.sha256)]
        if complete and taken.get(plain, shard.sha256) == shard.sha256:
            names.insert(0, plain)
        in_the_way = ""
        for name in names:
            in_the_way = self._in_the_way(name, shard, is_ours=name in taken)
            if not in_the_way:
                return name
        raise StorageError(
            f"{self._disk.path(in_the_way)}: is not a file of this output; move it away, then run again"
        )

    def _in_the_way(self, name: str, shard: Receipt, *, is_ours: bool) -> str:
        """What would be replaced that is somebody else's: the file of this name, unless it has the same
        bytes, or the one that is made on the way to it. Empty: nothing.
        """
        if not is_ours and not self._is_free(name, shard):
            return name
        spare = naming.spare(name)
        return spare if self._disk.is_there(spare) and spare not in self._ledger.garbage() else ""

    def _is_free(self, name: str, shard: Receipt) -> bool:
        path = self._disk.path(name)
        if path.is_symlink():  # a stranger's in any case, wherever it points
            return False
        if not path.exists() or name in self._ledger.garbage():
            return True
        return path.is_file() and self._disk.sha256(name) == shard.sha256

    def intents(self, names: Sequence[str]) -> list[str]:
        """What publishing makes under these names: garbage, if it does not come to that."""
        new = [name for name in names if not self._disk.path(name).exists()]
        return [*new, *map(naming.spare, names)]

    def publish(
        self,
        partition: Partition,
        build: int,
        shards: Sequence[Receipt],
        names: Sequence[str],
        before: Sequence[Build],
        *,
        complete: bool,
        second_key_shared: int | None,
    ) -> list[str]:
        """Links and commits; the ledger must know `intents` already. Returns the paths of the generation
        before that are not among `names`."""
        if names:
            folder = naming.folder(partition.name)
            self._disk.make_folder(folder)
            for shard, name in zip(shards, names, strict=True):
                self._disk.link(shard.path, name)
            self._disk.sync_folder(folder)
        generation = self._ledger.publish(
            build,
            [replace(shard, path=name) for shard, name in zip(shards, names, strict=True)],
            second_key_shared=second_key_shared,
        )
        self._emit(
            PartitionPublished(
                partition=partition.name,
                generation=generation,
                records=sum(shard.records for shard in shards),
                shards=len(shards),
                complete=complete,
            )
        )
        return [
            receipt.path
            for old in before
            if old.generation is not None
            for receipt in old.receipts
            if receipt.path not in names
        ]
