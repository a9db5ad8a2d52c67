"""The whole of a harvest under a virtual clock: one seed is one story, and tells itself again step for step.

`scenario` draws a story from a seed: what the source holds, how it behaves, what the job asks and how its
runs are disturbed. `source` is the innermost layer: it answers out of a small table, fails as the story
wants, and watches what comes to its door. `play` runs the story's episodes, `judge` compares what they left
with the truth, `trace` hears all that happens and folds it into one digest. `mutants` break the program on
purpose, `sweep` plays many.
"""
