"""The output of a job: partitions are assembled from batches, sealed, published and told in the manifest."""

from .folder import Output
from .manifest import Manifest, ManifestPartition, ManifestShard
from .told import Standing, read_manifest, read_told

__all__ = [
    "Manifest",
    "ManifestPartition",
    "ManifestShard",
    "Output",
    "Standing",
    "read_manifest",
    "read_told",
]
