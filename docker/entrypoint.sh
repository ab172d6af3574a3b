#!/bin/sh
# Runs the command it is given, as process 1 in its place.
#
# Dagster reads the address of its storage from the environment alone, so a mounted secret is put there. Our own
# programs read /run/secrets themselves.
set -eu
secret="${SECRETS_FOLDER:-/run/secrets}/dagster_postgres_url"
if [ -z "${DAGSTER_POSTGRES_URL:-}" ] && [ -r "$secret" ]; then
    DAGSTER_POSTGRES_URL="$(cat "$secret")"
    export DAGSTER_POSTGRES_URL
fi
exec "$@"
