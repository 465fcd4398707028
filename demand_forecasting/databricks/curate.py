"""Curation of the hourly demand of the district metered areas: bronze, as supplied, to silver to gold.

One program for Databricks (the cluster's own Spark) and for any machine with the package `pysail` (Sail, a Spark
Connect server).  It uses the DataFrame API only.  Both tables are replaced as a whole in one Delta commit each, so a
repeat changes nothing but the version, and every commit carries the id of its run in `userMetadata`.

silver: one row per series and local hour on a complete grid, `demand` null where nothing credible was measured.
gold: the same without gaps and with the weather of the hour; `observed` tells measured hours from filled ones.
weeks: the last 60 whole weeks of gold as JSON lines, one for a series and week, for what watches over the demand.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import sys
from collections.abc import Iterator, Sequence

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F  # noqa: N812 - the name that every PySpark reader knows

SERIES = tuple(f"dma_{number}" for number in range(1, 11))
WEATHER = ("rain", "temperature", "humidity", "windspeed")
KEPT_WEEKS = 60
STAMP = r"^\d{2}/\d{2}/\d{4} \d{2}:\d{2}$"


class BadInput(Exception):
    """Bronze is not what the supplier promised; the message says what is wrong with it."""


def silver(bronze: DataFrame) -> DataFrame:
    """One row per series and hour: duplicates folded, the two readings of the autumn hour averaged, gaps kept as null.

    Clock hours are local time.  The hour that spring skips is a gap like any other.
    """
    stamped = bronze.dropDuplicates().withColumn("at", F.to_timestamp("timestamp", "dd/MM/yyyy HH:mm"))
    measured = stamped.select("at", *(_credible(name) for name in SERIES), *WEATHER)
    hourly = measured.groupBy("at").agg(*(F.avg(name).alias(name) for name in SERIES + WEATHER))
    span = hourly.agg(F.min("at").alias("first"), F.max("at").alias("last"))
    grid = span.select(F.explode(F.sequence("first", "last", F.expr("interval 1 hour"))).alias("at"))
    wide = grid.join(hourly, "at", "left")
    pairs = F.array(*(F.struct(F.lit(name).alias("series"), F.col(name).alias("demand")) for name in SERIES))
    long = wide.select("at", *WEATHER, F.explode(pairs).alias("pair"))
    return long.select("pair.series", F.col("at").alias("timestamp"), "pair.demand", *WEATHER)


def gold(silver: DataFrame) -> DataFrame:
    """Silver without gaps: demand from the last measured same hour of the week, weather from the last known hour.

    Only the past fills a gap, so nothing after an hour is ever known at that hour.  Hours before the first value that
    could fill them are left out.
    """
    week = F.dayofweek("timestamp") * 24 + F.hour("timestamp")
    same_hour = Window.partitionBy("series", week).orderBy("timestamp")
    before = Window.partitionBy("series").orderBy("timestamp")
    filled = silver.select(
        "series",
        "timestamp",
        F.last("demand", ignorenulls=True).over(same_hour).alias("demand"),
        F.col("demand").isNotNull().alias("observed"),
        *(F.last(name, ignorenulls=True).over(before).alias(name) for name in WEATHER),
    )
    return filled.dropna().orderBy("series", "timestamp")


def weeks(gold: DataFrame) -> DataFrame:
    """The newest whole weeks, Monday to Sunday: `series`, `week` and the 168 measured `values`, null where filled."""
    (last,) = gold.agg(F.max("timestamp")).first()
    first = F.date_sub(F.date_trunc("week", F.lit(last)).cast("date"), 7 * KEPT_WEEKS)
    monday = F.date_trunc("week", "timestamp")
    measured = F.when(F.col("observed"), F.round("demand", 4))
    recent = gold.where(F.col("timestamp") >= first)
    hourly = recent.select(
        "series", monday.alias("monday"), F.struct("timestamp", measured.alias("value")).alias("hour")
    )
    whole = hourly.groupBy("series", "monday").agg(F.sort_array(F.collect_list("hour")).alias("hours"))
    week = F.date_format("monday", "yyyy-MM-dd").alias("week")
    return whole.where(F.size("hours") == 168).select("series", week, F.col("hours.value").alias("values"))


def check(bronze: DataFrame) -> DataFrame:
    """`bronze` itself, or BadInput when columns are missing, it is empty, or an hour is misspelt."""
    missing = sorted({"timestamp", *SERIES, *WEATHER} - set(bronze.columns))
    if missing:
        raise BadInput(f"bronze lacks the columns {', '.join(missing)}; it has {', '.join(bronze.columns)}")
    misspelt = F.coalesce(~F.col("timestamp").rlike(STAMP), F.lit(True))
    count, wrong, example = bronze.agg(
        F.count(F.lit(1)), F.sum(misspelt.cast("int")), F.first(F.when(misspelt, F.col("timestamp")), ignorenulls=True)
    ).first()
    if not count:
        raise BadInput("bronze is empty: nothing was landed")
    if wrong:
        raise BadInput(f"{wrong} of {count} rows of bronze have no time as dd/MM/yyyy HH:mm, for example {example!r}")
    return bronze


def run(spark: SparkSession, bronze: str, silver_at: str, gold_at: str, run_id: str, weeks_at: str = "") -> None:
    """Read `bronze`, replace the tables at `silver_at` and `gold_at`, and stamp both commits with `run_id`."""
    write = functools.partial(_replace, run_id=run_id)
    write(silver(check(spark.read.format("delta").load(bronze))), silver_at)
    write(gold(spark.read.format("delta").load(silver_at)), gold_at)
    if weeks_at:
        weeks(spark.read.format("delta").load(gold_at)).write.mode("overwrite").json(weeks_at)


@contextlib.contextmanager
def session() -> Iterator[SparkSession]:
    """The cluster's session on Databricks, else one on a Sail server of this process."""
    if "DATABRICKS_RUNTIME_VERSION" in os.environ:
        yield _with_settings(SparkSession.builder.getOrCreate())
        return
    from pysail.spark import SparkConnectServer

    server = SparkConnectServer(ip="127.0.0.1", port=0)
    server.start(background=True)
    _, port = server.listening_address
    spark = SparkSession.builder.remote(f"sc://127.0.0.1:{port}").getOrCreate()
    try:
        yield _with_settings(spark)
    finally:
        spark.stop()
        server.stop()


def main(argv: Sequence[str] | None = None) -> int:
    """The task's command line; 0, or 1 with the reason on standard error."""
    args = _parser().parse_args(argv)
    say(f"run {args.run_id} of {args.correlation_id}: {args.bronze}, the set is listed in {args.manifest}")
    try:
        with session() as spark:
            run(spark, args.bronze, args.silver, args.gold, args.run_id, args.weeks)
    except Exception as error:  # the last line of a task's output is what its failed run shows
        sys.stderr.write(f"curate failed on {args.bronze}: {_reason(error)}\n")
        return 1
    say(f"replaced {args.silver} and {args.gold}")
    return 0


def say(text: str) -> None:
    """One line for the task's output."""
    sys.stdout.write(f"curate: {text}\n")


def _credible(name: str) -> Column:
    """The flow of one area as a number; null when it is negative or not a number."""
    flow = F.col(name).cast("double")
    return F.when((flow >= 0) & ~F.isnan(flow), flow).alias(name)


def _replace(table: DataFrame, at: str, *, run_id: str) -> None:
    writer = table.write.format("delta").mode("overwrite").option("userMetadata", run_id)
    writer.option("overwriteSchema", "true").save(at)


def _with_settings(spark: SparkSession) -> SparkSession:
    # Local clock hours are kept as they are spelt: in any other zone an hour would shift or vanish.
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    return spark


def _reason(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text if isinstance(error, BadInput) else f"{type(error).__name__}: {text}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Curate the demand of the district metered areas.")
    parser.add_argument("--bronze", required=True, help="address of the bronze table")
    parser.add_argument("--silver", required=True, help="address of the silver table")
    parser.add_argument("--gold", required=True, help="address of the gold table")
    parser.add_argument("--weeks", default="", help="folder for the newest weeks as JSON lines, when given")
    parser.add_argument("--run-id", required=True, help="stamped on each commit as userMetadata")
    parser.add_argument("--manifest", default="", help="address of the list of what landed")
    parser.add_argument("--correlation-id", default="", help="ties this run to the event that caused it")
    return parser


if __name__ == "__main__":
    # Not sys.exit on Databricks' success path: there any SystemExit counts as a failure.
    if status := main():
        sys.exit(status)
