"""`make bench`: run every benchmark and print its ratio."""

from ledger_pipeline_tests.benchmarks.append_path import append_over_copy
from ledger_pipeline_tests.benchmarks.requests import backfill_over_full_scan

for benchmark in (backfill_over_full_scan, append_over_copy):
    print(benchmark(), flush=True)
