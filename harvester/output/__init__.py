"""The output of a job: partitions are assembled from batches, sealed, published and told in the manifest."""

from .folder import Output
from .manifest import Manifest, ManifestPartition, ManifestShard, read_manifest

__all__ = ["Manifest", "ManifestPartition", "ManifestShard", "Output", "read_manifest"]
