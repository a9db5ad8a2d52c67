"""The manifest as it is read back, and how far it can be believed.

Cases: it is missing or none (NoManifest); another version wrote it (OtherVersion); its digest, or where it
has none `_SUCCESS`, shows that it is what was written (SOUND), or that something else has changed it since
(CHANGED); or it is of a version that wrote no digest, and no `_SUCCESS` stands: it is CHANGED where it
contradicts itself, else UNVOUCHED.
"""

import errno
import hashlib
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

import msgspec

from harvester.errors import NoManifest, OtherVersion, StorageError, VerificationFailed
from harvester.output.contradiction import contradiction
from harvester.output.manifest import FORMAT_VERSION, Manifest, digest_holds, success_of
from harvester.shards import naming
from harvester.shards.disk import plain

_NOT_OURS: Final = {errno.ELOOP, errno.EINVAL}
"""A link or a pipe: what is written takes its place."""
_HINTS: Final = {
    errno.EISDIR: "a folder stands in the place of the file: move it away",
    errno.EACCES: "see that you may read it",
}


class Standing(Enum):
    """Whether a manifest that can be read is what was written."""

    SOUND = "sound"
    UNVOUCHED = "unvouched"
    """Nothing speaks for or against it."""
    CHANGED = "changed"


class _Versioned(msgspec.Struct):
    format_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    manifest: Manifest
    standing: Standing
    changed: str = ""
    """How it shows that it was changed; empty where it does not."""


def read_manifest(out: Path) -> Manifest:
    """Raises NoManifest where it is missing or is none, OtherVersion where another version wrote it, and
    StorageError where it cannot be read.
    """
    return read_told(out).manifest


def read_told(out: Path) -> Told:
    """Raises what `read_manifest` raises."""
    path = out / naming.MANIFEST
    anew = "run the job again to write it anew"
    try:
        content = plain(path).read_bytes()
        version = msgspec.json.decode(content, type=_Versioned).format_version
        if version == FORMAT_VERSION:
            return _judged(out, msgspec.json.decode(content, type=Manifest), content)
    except FileNotFoundError:
        raise NoManifest(f"{path}: there is no manifest", anew) from None
    except OSError as error:
        if error.errno in _NOT_OURS:
            raise NoManifest(f"{path}: {error.strerror}", anew) from None
        hint = _HINTS.get(error.errno or 0, "mend it")
        raise StorageError(f"{path}: cannot be read: {error.strerror}; {hint}, then run again") from error
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:  # a name may be no UTF-8
        raise NoManifest(f"{path}: is not a manifest of this version ({error})", anew) from None
    raise OtherVersion(
        f"{path}: was made by another version of harvester (format_version {version}; this one knows "
        f"{FORMAT_VERSION}); nothing was changed. Use that version, or harvest into a new folder. If none "
        "was at work here, the file is damaged: move it away, then run the job again to write it anew"
    )


def _judged(out: Path, manifest: Manifest, content: bytes) -> Told:
    if manifest.digest is not None:
        changed = "" if digest_holds(manifest, content) else "its digest differs"
    else:
        try:
            vouched = success_of(out) == hashlib.sha256(content).hexdigest()
        except FileNotFoundError:
            odd = contradiction(manifest)
            if odd is None:
                return Told(manifest=manifest, standing=Standing.UNVOUCHED)
            changed = f"it contradicts itself: {odd}"
        except OSError:
            changed = f"{naming.SUCCESS} cannot be read"
        else:
            changed = "" if vouched else f"{naming.SUCCESS} is of another one"
    changed = changed and f"was changed since it was written ({changed})"
    return Told(manifest=manifest, standing=Standing.CHANGED if changed else Standing.SOUND, changed=changed)


def paths_told(root: Path) -> set[str]:
    """The shards that readers go by now; none where no manifest can be read."""
    try:
        return {shard.path for shard in read_manifest(root).shards}
    except (VerificationFailed, StorageError):
        return set()
