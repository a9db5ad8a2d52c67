"""The scheduler: wires the rooms into one run and owns no rule of theirs."""

from harvester.scheduler.harvest import Harvest

__all__ = ["Harvest"]
