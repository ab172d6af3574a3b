"""`make bench`: run every benchmark and print its figures."""

from itertools import chain

from ledger_pipeline_tests.benchmarks.allocations import allocate_over_aggregate
from ledger_pipeline_tests.benchmarks.append_path import append_over_copy
from ledger_pipeline_tests.benchmarks.backfill import backfill_over_empty_run
from ledger_pipeline_tests.benchmarks.commands import cpu_time_of_commands
from ledger_pipeline_tests.benchmarks.memory import memory_of_history
from ledger_pipeline_tests.benchmarks.range_memory import memory_of_a_range
from ledger_pipeline_tests.benchmarks.requests import request_counts
from ledger_pipeline_tests.benchmarks.ten_years import ten_years_of_fifty_scopes
from ledger_pipeline_tests.benchmarks.what_if import what_if_over_aggregate

for figure in chain(request_counts(), cpu_time_of_commands()):
    print(figure, flush=True)
for benchmark in (append_over_copy, memory_of_history, memory_of_a_range, allocate_over_aggregate):
    print(benchmark(), flush=True)
for figure in chain(what_if_over_aggregate(), backfill_over_empty_run(), ten_years_of_fifty_scopes()):
    print(figure, flush=True)
