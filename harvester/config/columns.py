"""The columns of a format that has some: what the dialect declares, or what a schema file tells."""

import hashlib
import json
from importlib.util import find_spec
from typing import Any

import orjson

from harvester.config.kinds import quoted
from harvester.config.loading import Config
from harvester.dialects import Dialect
from harvester.shapes import EMPTY, Shape


def columns_of(config: Config, dialect: Dialect) -> Shape:
    """Nothing for a format of lines. ConfigError for settings that only columns have, for a schema file that
    is none, and where the extra is not installed."""
    output = config.output
    if output.format != "parquet":
        for key in ("timestamps", "schema"):
            if config.origins[f"output.{key}"].layer != "default":
                raise config.wrong(f"output.{key}", 'is for output.format = "parquet"', "leave it out")
        return EMPTY
    if find_spec("pyarrow") is None:
        raise config.wrong(
            "output.format", '"parquet" needs an extra', "install it: pip install 'harvester[parquet]'"
        )
    if output.compression != "zstd":
        raise config.wrong("output.compression", "parquet is always compressed with zstd", "leave it out")
    columns = dialect.columns if output.schema is None else _told(config, output.schema)
    digests = dict.fromkeys(output.pseudonymise, Shape("string"))
    return Shape("struct", members=tuple((name, digests.get(name, one)) for name, one in columns.members))


def fingerprint(columns: Shape, timestamps: str) -> dict[str, Any]:
    """What of it decides the bytes."""
    told = orjson.dumps(columns.told())
    return {"timestamps": timestamps, "digest": hashlib.sha256(told).hexdigest()}


def _told(config: Config, path: str) -> Shape:
    """From the whole answer of `harvester schema --json`, or its `shape` alone."""
    hint = "write it with `harvester schema OUT --json > schema.json`"
    file = config.beside("output.schema", path)
    try:
        told = json.loads(file.read_bytes())
        shape = Shape.of(told.get("shape", told) if isinstance(told, dict) else told)
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
    except (ValueError, RecursionError) as error:
        what = f"is no schema: {error}"
    else:
        if shape.kind == "struct":
            return shape
        what = f"tells of {shape}, not of records"
    raise config.wrong("output.schema", f"{quoted(path)} {what}", hint)
