"""The database: one writer with group commit, a few readers, migrations.

SQL is SQLAlchemy Core; what only SQLite speaks stays in :mod:`overair.platform.database.sqlite`.
"""

from overair.platform.database.database import Database, DatabaseError, Query, embedded_url, upsert
from overair.platform.database.migrate import SchemaError, check_schema, upgrade
from overair.platform.database.schema import metadata

__all__ = [
    "Database",
    "DatabaseError",
    "Query",
    "SchemaError",
    "check_schema",
    "embedded_url",
    "metadata",
    "upgrade",
    "upsert",
]
