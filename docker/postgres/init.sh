#!/usr/bin/env bash
# Once, when the data volume is empty: a database and an owner for each of ledger, Dagster and Temporal.
#
# The ledger's writer and reader are not made here: `ledger-pipeline db upgrade` makes them, as ledger_owner, here and
# on any other Postgres.
set -euo pipefail
export SECRETS_FOLDER="${SECRETS_FOLDER:-/run/secrets}"
for name in ledger_owner dagster temporal; do
    [ -s "$SECRETS_FOLDER/${name}_password" ] || { echo "$SECRETS_FOLDER/${name}_password is missing or empty" >&2; exit 1; }
done
# psql itself reads the files: an argument could be seen in the list of processes.
psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username="${POSTGRES_USER:-postgres}" --dbname=postgres <<'SQL'
\set ledger_owner_password `cat "$SECRETS_FOLDER/ledger_owner_password"`
\set dagster_password `cat "$SECRETS_FOLDER/dagster_password"`
\set temporal_password `cat "$SECRETS_FOLDER/temporal_password"`
CREATE ROLE ledger_owner LOGIN CREATEROLE PASSWORD :'ledger_owner_password';
CREATE DATABASE ledger OWNER ledger_owner;
CREATE ROLE dagster LOGIN PASSWORD :'dagster_password';
CREATE DATABASE dagster OWNER dagster;
CREATE ROLE temporal LOGIN PASSWORD :'temporal_password';
CREATE DATABASE temporal OWNER temporal;
CREATE DATABASE temporal_visibility OWNER temporal;
SQL
