"""Reads each folder named on the command line as Spark reads a table, and pickles its rows beside it.

Run by a Python that has pyspark and nothing of ours. TZ has to be UTC: Spark's datetimes are of the local
zone.
"""

import pickle
import sys
from pathlib import Path

from pyspark.sql import SparkSession  # type: ignore[import-not-found]


def main() -> None:
    spark = (
        SparkSession.builder.master("local[1]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )
    for folder in map(Path, sys.argv[1:]):
        table = spark.read.parquet(str(folder))
        rows = [row.asDict(recursive=True) for row in table.toLocalIterator()]
        types = {field.name: field.dataType.simpleString() for field in table.schema.fields}
        folder.with_suffix(".pickle").write_bytes(pickle.dumps({"types": types, "rows": rows}))
    print(spark.version)
    spark.stop()


if __name__ == "__main__":
    main()
