"""Runs the migrations on the connection `ledger_pipeline.store.migrations` hands over; configures nothing else."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table=context.config.attributes["version_table"],
    transaction_per_migration=context.config.attributes["transaction_per_migration"],
)

with context.begin_transaction():
    context.run_migrations()
