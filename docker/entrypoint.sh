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
# Dagster sets no limits of its own: whoever asks a database that answers no more would wait for hours. Both are noticed
# within half a minute, unless the address says otherwise itself.
case "${DAGSTER_POSTGRES_URL:-}" in
    "" | *\?*) ;;
    *)
        tcp="keepalives=1&keepalives_idle=10&keepalives_interval=10&keepalives_count=2&tcp_user_timeout=30000"
        export DAGSTER_POSTGRES_URL="$DAGSTER_POSTGRES_URL?connect_timeout=10&$tcp"
        ;;
esac
exec "$@"
