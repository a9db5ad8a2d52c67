"""Spans of time, the windows that tile them, the partitions that records are filed under, and their zones.

Every interval here is half-open, start <= t < end, and held in UTC. Edges are where the local clock of the
job's zone reaches a whole quarter hour, hour, day or month. The edges of a coarser grid are edges of each
finer one: so no window crosses the edge of a partition. Pure: it reads no clock, and no files but the tz
database (the system's, else the package tzdata).
"""

from harvester.windows.grid import Resolution, after, count_windows, floor, relative_span, windows
from harvester.windows.intervals import Partition, Span, Window, merge, subtract
from harvester.windows.partitions import By, partition_named, partition_of, partitions
from harvester.windows.zones import parse_time, zone

__all__ = [
    "By",
    "Partition",
    "Resolution",
    "Span",
    "Window",
    "after",
    "count_windows",
    "floor",
    "merge",
    "parse_time",
    "partition_named",
    "partition_of",
    "partitions",
    "relative_span",
    "subtract",
    "windows",
    "zone",
]
