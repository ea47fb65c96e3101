"""The views that the reader role sees: made from the declared columns, remade at each migration.

What a view shows is decided here and nowhere else: secure files never, former versions never. They are plain views, so
that the sky's indexes serve conditions on them (layout 4: no security_barrier). What only the running service knows,
its public URL and authority, comes from settings of the session (`set_session`), so that no row stores it.
"""

import hashlib

from sqlalchemy import Connection, text

from archive.holdings.catalogues import postgres_type
from archive.holdings.declared import ARC_FILE
from archive.holdings.obscore import COLUMNS, OBSPLAN

PUBLIC_URL, AUTHORITY = "uraniborg.public_url", "uraniborg.authority"
DATALINK_FORMAT = "application/x-votable+xml;content=datalink"  # no blank: clients compare strings (OBS-05)

_SETTING = "coalesce(current_setting('{}', true), '')"
_EXPRESSIONS = {
    "access_url": f"{_SETTING.format(PUBLIC_URL)} || '/datalink/links?ID=' || "
    "'ivo://' || split_part(substr(f.obs_publisher_did, 7), '?', 1) || '?' || f.file_id_encoded",
    "access_format": f"'{DATALINK_FORMAT}'::text",
    "access_estsize": "(f.file_size + 999) / 1000",
    "obs_release_date": "f.release_date AT TIME ZONE 'UTC'",
    "obs_creation_date": "f.obs_creation_date AT TIME ZONE 'UTC'",
    "data_rights": "CASE WHEN f.rights <> 'secure' AND f.release_date <= now() THEN 'public' ELSE 'proprietary' END",
    "publisher_id": f"'ivo://' || {_SETTING.format(AUTHORITY)}",
    "dp_id": "f.file_id",
    "dp_version": "f.version",
    "release_description": "NULL::text",
    "preview_html": f"{_SETTING.format(PUBLIC_URL)} || '/datasets/' || f.file_id_encoded",
    "publication_date": "f.arrived AT TIME ZONE 'UTC'",
    "last_mod_date": "f.last_mod AT TIME ZONE 'UTC'",
    "calib_level": "f.calib_level::integer",
}
_FILE_EXPRESSIONS = {
    name: f"f.{name} AT TIME ZONE 'UTC'" for name in ("tpl_start", "arrived", "last_mod", "release_date")
} | {"access_url": f"{_SETTING.format(PUBLIC_URL)} || '/files/' || f.file_id_encoded"}
# What a user of ObsCore looks for: the sky, not the documents beside it nor the calibrations (those are in arc.file).
_SCIENCE = "f.kind IN ('raw', 'product', 'catalogue') AND coalesce(f.dp_cat, 'SCIENCE') = 'SCIENCE'"
_CURRENT = "f.superseded_at IS NULL AND f.rights <> 'secure'"


def statements() -> list[str]:
    """DDL, run by the owner in one transaction: drop and make the views."""

    def select(names: list[str], expressions: dict[str, str], condition: str) -> str:
        shown = ",\n  ".join(f'{expressions.get(name, f"f.{name}")} AS "{name}"' for name in names)
        return f"SELECT {shown}\nFROM arc.file AS f WHERE {condition}"

    obscore = select([column.name for column in COLUMNS], _EXPRESSIONS, f"{_CURRENT} AND {_SCIENCE}")
    files = select([column.name for column in ARC_FILE.columns], _FILE_EXPRESSIONS, _CURRENT)
    plan = ", ".join(f'NULL::{postgres_type(column)} AS "{column.name}"' for column in OBSPLAN.columns)
    return [
        "DROP VIEW IF EXISTS ivoa.obscore",
        f"CREATE VIEW ivoa.obscore AS {obscore}",
        "DROP VIEW IF EXISTS ivoa.obsplan",
        f"CREATE VIEW ivoa.obsplan AS SELECT {plan} WHERE false",
        "DROP VIEW IF EXISTS pub.file",
        f"CREATE VIEW pub.file AS {files}",
    ]


def install(connection: Connection) -> bool:
    """Make the views anew if they are not those declared here; the caller grants and commits. True: they were made."""
    wanted = statements()
    mark = hashlib.sha256("\n".join(wanted).encode()).hexdigest()
    found = connection.execute(text("SELECT obj_description(to_regclass('ivoa.obscore'), 'pg_class')")).scalar()
    if found == mark:
        return False
    for statement in wanted:
        connection.execute(text(statement.replace("::", "\\:\\:")))
    connection.execute(text(f"COMMENT ON VIEW ivoa.obscore IS '{mark}'"))
    return True


def session_settings(public_url: str, authority: str) -> dict[str, str]:
    """What a session of the reader must set (`SET uraniborg.public_url`) before it asks the views."""
    return {PUBLIC_URL: public_url, AUTHORITY: authority}
