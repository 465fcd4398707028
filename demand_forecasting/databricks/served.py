"""What was really served: the scoring log as a Delta table, and its error once the actuals have landed.

predictions: one row per call, series and hour that was forecast, partitioned by the day on which the hub received the
call.  A day is replaced as a whole, so a repeat changes nothing; days before the newest one but one are closed.
errors: one row per endpoint, deployment, model version, origin and series, over all calls and measured hours.  It is
replaced as a whole: what landed since the last run is in it.
weeks: the same as JSON lines of a week, a model version and a series, in a folder of the run's own, for what watches
over the errors: `error` is the mean absolute error over the mean demand.

Calls that were replayed to a deployment without traffic (`shadow`) are in the first table, not in the second.

The program stands alone, as `curate.py` does: Databricks runs a task's file without its neighbours on the path.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - the name that every PySpark reader knows

FACTS = ("id", "endpoint", "deployment", "model_name", "model_version", "shadow")
COLUMNS = (
    "day string, partition string, sequence long, id string, endpoint string, deployment string, model_name string, "
    "model_version string, shadow boolean, answered string, origin timestamp, series string, timestamp timestamp, "
    "prediction double"
)
"""The table `predictions`; `answered` is in UTC, `origin` and `timestamp` are the series' own local clock."""
_ABSENT = ("PATH_NOT_FOUND", "DELTA_TABLE_NOT_FOUND", "DELTA_MISSING_DELTA_TABLE", "is not a Delta table", "No commit")
"""What Spark, and Sail (\"No commit files found\"), say of a table or folder that is not there."""
KEYS = ("endpoint", "deployment", "model_name", "model_version", "origin", "series")


def predictions(lines: DataFrame) -> DataFrame:
    """Lines of the log as one row per call, series and hour; each call once, whatever was delivered twice."""
    parsed = lines.mapInPandas(_parsed, COLUMNS)
    return parsed.dropDuplicates(["id", "deployment", "series", "timestamp"])


def errors(served: DataFrame, gold: DataFrame) -> DataFrame:
    """How far predictions were from what was measured; hours that are not measured, or not yet, are left out."""
    off = F.col("prediction") - F.col("actual")
    return (
        _measured(served, gold)
        .groupBy(*KEYS)
        .agg(
            F.countDistinct("id").alias("calls"),
            F.count(F.lit(1)).alias("hours"),
            F.sum(F.abs(off)).alias("absolute_error"),
            F.sum(off).alias("error"),
            F.sum("actual").alias("actual"),
            F.avg(F.abs(off)).alias("mae"),
        )
    )


def weeks(served: DataFrame, gold: DataFrame) -> DataFrame:
    """The error of each calendar week (from Monday), model version and series, as a share of the mean demand."""
    error = F.sum(F.abs(F.col("prediction") - F.col("actual"))) / F.sum("actual")
    week = F.date_format(F.date_trunc("week", "timestamp"), "yyyy-MM-dd").alias("week")
    found = _measured(served, gold).groupBy(week, "model_version", "series").agg(error.alias("error"))
    return found.where("error is not null")


def run(spark: SparkSession, log: str, gold: str, served: str, scored: str, run_id: str, weeks_at: str = "") -> str:
    """Bring both tables up to date; what was done, in words."""
    newest = _newest_day(spark, served)
    lines = _lines(spark, log)
    where = ""
    if lines is not None:
        if newest:
            since = (dt.date.fromisoformat(newest) - dt.timedelta(days=1)).isoformat()
            lines, where = lines.where(F.col("day").cast("string") >= since), f"day >= '{since}'"
        _replace(predictions(lines.select("value")), served, run_id, where, by=["day"])
    known = newest or lines is not None
    told = spark.read.format("delta").load(served) if known else spark.createDataFrame([], COLUMNS)
    # The errors are written also when there are none: the commit says that this run has been.
    actual = spark.read.format("delta").load(gold)
    _replace(errors(told, actual), scored, run_id)
    if weeks_at:
        weeks(told, actual).write.mode("overwrite").json(weeks_at)
    return f"replaced {served}{f' where {where}' if where else ''} and {scored}"


@contextlib.contextmanager
def session() -> Iterator[SparkSession]:
    """The cluster's session on Databricks, else one on a Sail server of this process; clock hours as they are spelt."""
    server = None
    if "DATABRICKS_RUNTIME_VERSION" in os.environ:
        spark = SparkSession.builder.getOrCreate()
    else:
        from pysail.spark import SparkConnectServer

        server = SparkConnectServer(ip="127.0.0.1", port=0)
        server.start(background=True)
        spark = SparkSession.builder.remote(f"sc://127.0.0.1:{server.listening_address[1]}").getOrCreate()
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    try:
        yield spark
    finally:
        if server is not None:
            spark.stop()
            server.stop()


def _measured(served: DataFrame, gold: DataFrame) -> DataFrame:
    """Predictions that somebody was served, each beside what was measured in its hour."""
    actual = gold.where("observed").select("series", "timestamp", F.col("demand").alias("actual"))
    return served.where("not shadow and prediction is not null").join(actual, ["series", "timestamp"])


def _parsed(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    names = [column.split()[0] for column in COLUMNS.split(", ")]
    for batch in batches:
        rows = [row for line in batch["value"] for row in _rows(line)]
        frame = pd.DataFrame(rows, columns=names)
        frame["sequence"] = frame["sequence"].astype("int64")
        frame["shadow"] = frame["shadow"].astype(bool)
        frame["prediction"] = pd.to_numeric(frame["prediction"]).astype("float64")
        for column in ("origin", "timestamp"):
            frame[column] = pd.to_datetime(frame[column])
        yield frame


def _rows(line: str) -> list[list[Any]]:
    """The rows of one line; none for what is no good answer."""
    message = json.loads(line)
    call = message.get("call") or {}
    outputs = call.get("outputs") or {}
    if call.get("status") != 200 or not isinstance(outputs.get("predictions"), dict):
        return []
    place = [message["enqueued"][:10], message["partition"], message["sequence"]]
    facts = [*place, *(call.get(name) for name in FACTS), call["at"]]
    origin = dt.datetime.fromisoformat(outputs["origin"])
    return [
        [*facts, origin, series, origin + dt.timedelta(hours=hour), value]
        for series, values in outputs["predictions"].items()
        for hour, value in enumerate(values)
    ]


def _lines(spark: SparkSession, log: str) -> DataFrame | None:
    """Every line of the log, with its folders as the columns `day` and `hour`; None when there is no line."""
    with _absent_is_none():
        lines = spark.read.text(log)
        return lines if lines.head(1) else None
    return None


def _newest_day(spark: SparkSession, served: str) -> str | None:
    """The newest day in the table, None when there is no table yet."""
    with _absent_is_none():
        found = spark.read.format("delta").load(served).agg(F.max("day")).first()
        return found[0] if found else None
    return None


@contextlib.contextmanager
def _absent_is_none() -> Iterator[None]:
    """Swallow the error that says that nothing is there."""
    try:
        yield
    except Exception as error:
        if not any(word in str(error) for word in _ABSENT):
            raise


def _replace(table: DataFrame, at: str, run_id: str, where: str = "", *, by: Sequence[str] = ()) -> None:
    writer = table.write.format("delta").mode("overwrite").option("userMetadata", run_id).partitionBy(*by)
    if where:
        writer.option("replaceWhere", where).save(at)
    else:
        writer.option("overwriteSchema", "true").save(at)


def main(argv: Sequence[str] | None = None) -> int:
    """The task's command line; 0, or 1 with the reason on standard error."""
    args = _parser().parse_args(argv)
    try:
        with session() as spark:
            said = run(spark, args.log, args.gold, args.predictions, args.errors, args.run_id, args.weeks)
    except Exception as error:  # the last line of a task's output is what its failed run shows
        sys.stderr.write(f"served failed on {args.log}: {type(error).__name__}: {error}\n")
        return 1
    sys.stdout.write(f"served: {said}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Join what was served with what was measured.")
    parser.add_argument("--log", required=True, help="address of the scoring log's blobs")
    parser.add_argument("--gold", required=True, help="address of the gold table")
    parser.add_argument("--predictions", required=True, help="address of the table of predictions")
    parser.add_argument("--errors", required=True, help="address of the table of errors")
    parser.add_argument("--weeks", default="", help="folder for the errors of each week as JSON lines, when given")
    parser.add_argument("--run-id", required=True, help="stamped on each commit as userMetadata")
    parser.add_argument("--manifest", default="", help="address of the list of what landed")
    parser.add_argument("--correlation-id", default="", help="ties this run to the event that caused it")
    return parser


if __name__ == "__main__":
    # Not sys.exit on Databricks' success path: there any SystemExit counts as a failure.
    if status := main():
        sys.exit(status)
