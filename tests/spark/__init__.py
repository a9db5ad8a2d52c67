"""Tables read back by Spark: `scripts/spark-read-back` compares every value with lines of the same records.

`__main__` makes the outputs and compares; `reader` is run by a Python of its own that has pyspark.
"""
