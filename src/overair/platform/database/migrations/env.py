"""Alembic's entry: runs the versions on the engine that the program hands over."""

from alembic import context

from overair.platform.database.schema import metadata


def run() -> None:
    with context.config.attributes["engine"].connect() as connection:
        context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
        with context.begin_transaction():
            context.run_migrations()


run()
