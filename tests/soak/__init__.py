"""The soak: an hour of real processes against two simulators with their faults on, compared with the truth
each minute.

`campaigns` has runs follow each other on one output (killed, stopped, resumed, extended, begun anew),
`long_run` keeps one process alive all the while, `mischief` says what the servers do, `processes` starts and
measures, `__main__` prints the table and the verdict.
"""
