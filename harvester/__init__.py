"""harvester: an asynchronous bulk harvester that empties a reporting API into sharded files, provably."""

__version__ = "0.1.0"
