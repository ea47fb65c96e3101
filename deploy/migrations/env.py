"""What Alembic runs: the tables of every room, compared and migrated by archive.database.migrate.

In-process (`uraniborg db migrate`) the connection is handed over; `alembic -x url=postgresql://... history` from the
shell brings its own.
"""

from alembic import context
from sqlalchemy import create_engine

from archive.database import migrate
from archive.database.engines import database_url

attributes = context.config.attributes
metadata = attributes.get("metadata")
if metadata is None:
    # The front door knows every room. Imported here, for tests bring tables of their own.
    import uraniborg

    metadata = uraniborg.metadata()

if "connection" in attributes:
    migrate.run(context, metadata)
else:
    url = context.get_x_argument(as_dictionary=True).get("url")
    if not url:
        raise SystemExit("say which database: alembic -x url=postgresql://owner:password@host/database ...")
    with create_engine(database_url(url)).begin() as connection:
        attributes["connection"] = connection
        migrate.run(context, metadata)
