# SPDX-License-Identifier: Apache-2.0
"""What a database's error means for the keeper, and what a person can do about it."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, OperationalError

from keeper.errors import ConfigError, Halt, KeeperError, Permanent, Transient

Rule = tuple[tuple[str, ...], type[KeeperError], str]

# (what the driver says, class, sentence); the first that fits counts. {name} is the database, {said} the driver's text.
SQLITE: tuple[Rule, ...] = (
    (
        ("locked", "busy"),
        Transient,
        "database {name} is locked by another process; it will be tried again, stop the other keeper if it stays",
    ),
    (("full",), Halt, "database {name} has no room left ({said}); free disk space before starting again"),
    (
        ("readonly", "read-only", "unable to open"),
        Halt,
        "database {name} cannot be written ({said}); check the path and its permissions",
    ),
    (("malformed", "not a database", "i/o error"), Halt, "database {name} is damaged ({said}); restore a backup"),
)

# By SQLSTATE, or its first two characters.
POSTGRESQL: tuple[Rule, ...] = (
    (
        ("55P03",),
        Transient,
        "database {name} is locked by another session; it will be tried again, see pg_stat_activity if it stays",
    ),
    (
        ("40001", "40P01", "23505"),
        Transient,
        "database {name} was changed by another session at the same moment ({said}); it will be tried again",
    ),
    (
        ("57P01", "57P02", "57P03", "08", "25P03", "57P05"),
        Transient,
        "database {name} ended the session or is restarting ({said}); it will be tried again",
    ),
    (
        ("57014",),
        Transient,
        "database {name} took too long ({said}); it will be tried again, see pg_stat_activity if it stays",
    ),
    (
        ("53300",),
        Transient,
        "database {name} takes no more sessions ({said}); close other clients or raise max_connections",
    ),
    (
        ("25006",),
        Transient,
        (
            "database {name} is a read-only standby ({said}); point DATABASE_URL at the primary, for example with "
            "target_session_attrs=read-write"
        ),
    ),
    (
        ("53100",),
        Halt,
        "database {name} has no room left ({said}); free disk space on its server before starting again",
    ),
    (("53200",), Transient, "database {name} is out of memory ({said}); it will be tried again"),
    (("XX001", "XX002", "58030"), Halt, "database {name} is damaged ({said}); restore a backup"),
    (
        ("28",),
        ConfigError,
        "database {name} refuses the user or the password ({said}); correct DATABASE_URL or pg_hba.conf",
    ),
    (
        ("3D000",),
        ConfigError,
        "database {name} does not exist ({said}); create it with createdb or correct DATABASE_URL",
    ),
    (("42501",), ConfigError, "database {name} forbids a statement ({said}); make its user the owner of the database"),
)

# libpq reports a refused connection without SQLSTATE: the server's text is all there is.
CONNECTING = {
    "password authentication failed": "28P01",
    "no password supplied": "28P01",
    "pg_hba.conf": "28000",
    "is not permitted to log in": "28000",
    "does not exist": "3D000",  # a database; a role is recognised before
    "the database system is": "57P03",  # starting up, shutting down, in recovery mode
    "too many clients": "53300",
    "too many connections": "53300",
    "remaining connection slots": "53300",
}


def classify(error: DBAPIError, name: str) -> KeeperError:
    """Return the keeper's error for one of the database's; ``name`` is the URL without its password."""
    said = " ".join(str(error.orig).split())
    state = _sqlstate(error, said)
    found = _by_state(state) if state is not None else _by_words(said.lower())
    if found is not None:
        kind, sentence = found
        return kind(sentence.format(name=name, said=said))
    if isinstance(error, OperationalError) or error.connection_invalidated:
        return Transient(f"database {name} did not answer ({said}); check that it runs and can be reached")
    return Permanent(f"database {name} refused a statement ({said}); this is a bug or a foreign schema, report it")


def _sqlstate(error: DBAPIError, said: str) -> str | None:
    """SQLSTATE of a PostgreSQL error, None for those of SQLite and for connections that broke without a word."""
    if not type(error.orig).__module__.startswith("psycopg"):
        return None
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return str(state)
    if 'role "' in said and "does not exist" in said:
        return "28000"
    return next((code for words, code in CONNECTING.items() if words in said), "?")


def _by_state(state: str) -> tuple[type[KeeperError], str] | None:
    return next((rule[1:] for rule in POSTGRESQL if any(state.startswith(code) for code in rule[0])), None)


def _by_words(said: str) -> tuple[type[KeeperError], str] | None:
    return next((rule[1:] for rule in SQLITE if any(word in said for word in rule[0])), None)
