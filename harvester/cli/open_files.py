"""How many files the process may have open: asked for before the run, not found out in the midst of it."""

from harvester.errors import ConfigError

_BESIDE_CONNECTIONS = 32
"""The streams, the loop, the ledger, a shard and what is merged into it; 21 were counted in a long run."""


def allow(connections: int) -> None:
    """Raises the limit where that may be done. ConfigError where so many connections need more than is
    allowed.
    """
    try:
        import resource
    except ImportError:  # Windows, which has no such limit
        return
    needed = connections + _BESIDE_CONNECTIONS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise ConfigError(
            f"only {hard} files may be open at once, and fetch.concurrency = {connections} needs {needed}; "
            "raise the limit (ulimit -n) or ask for less at a time"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
