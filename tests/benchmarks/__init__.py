"""Benchmarks: what harvester costs beside what people use today and beside the floor. `scripts/bench` runs
them; pytest does not.

Start with sections.py: each section is a question with its contestants and its goals. contestants.py says
what is run, measure.py what a run costs, checks.py whether its result is right (a wrong one does not
count), and table.py how it is told. sixty_lines.py and discard.py are contestants that stand alone.
"""
