"""The stack on one machine: embedded Postgres, a Dagster instance of our own, the demo. Not for production."""
