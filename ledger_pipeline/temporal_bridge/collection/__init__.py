"""A collection by Dagster: started, materialized in one run, waited for."""
