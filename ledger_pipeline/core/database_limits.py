"""How long anything that is asked of the database may take, and how many connections a process may hold."""

from dataclasses import dataclass, replace

# Besides its threads, a process asks for itself: a migration check, a sensor's tick, a page of the web UI.
SPARE_CONNECTIONS = 4


@dataclass(frozen=True)
class DatabaseLimits:
    """Limits of one process's connections, in seconds; 0 means no limit, except for the connecting.

    `statement`, `lock` and `idle_in_transaction` are kept by the server. `silence` is kept by us: how long a
    connection may give no sign of life, and so how long after its limit a statement is still waited for.
    """

    statement_seconds: int = 120
    lock_seconds: int = 30
    idle_in_transaction_seconds: int = 600
    connect_seconds: int = 10
    silence_seconds: int = 30
    pool_size: int = 24
    pool_wait_seconds: int = 30

    def for_threads(self, threads: int) -> "DatabaseLimits":
        """These limits, with a connection for each of `threads` that may all work at once, and some to spare."""
        return replace(self, pool_size=max(self.pool_size, threads + SPARE_CONNECTIONS))

    def unhurried(self) -> "DatabaseLimits":
        """These limits for work that may take hours or waits for its turn: a migration. Silence is still noticed."""
        return replace(self, statement_seconds=0, lock_seconds=0, idle_in_transaction_seconds=0)

    def tcp(self) -> dict[str, str]:
        """What libpq takes for `connect_seconds` and `silence_seconds`, so that the system notices a dead peer."""
        options = {"connect_timeout": str(self.connect_seconds)}
        if self.silence_seconds:
            third = str(max(1, self.silence_seconds // 3))
            options |= {
                "keepalives": "1",
                "keepalives_idle": third,
                "keepalives_interval": third,
                "keepalives_count": "2",
                "tcp_user_timeout": str(self.silence_seconds * 1000),
            }
        return options
