"""The job file and what goes before it: gathers the rooms' settings into one Config, and checks them into a
Job.

`load` reads and checks each value by itself, `job_of` checks them together, `token_of` looks whether there
is one. Every complaint is a ConfigError of one sentence: where it was written, the key, what is wrong, what
to do. No room imports this one.
"""

from harvester.config.job import job_of
from harvester.config.layers import Origin
from harvester.config.loading import Config, load, shown
from harvester.config.pseudonyms import key_of
from harvester.config.token import look_for_token, token_in, token_of

__all__ = ["Config", "Origin", "job_of", "key_of", "load", "look_for_token", "shown", "token_in", "token_of"]
