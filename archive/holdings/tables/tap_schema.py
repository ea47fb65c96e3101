"""Schema tap_schema (TAP 1.1 §4): written by archive.holdings.published from vo.columns, never by hand."""

from sqlalchemy import Column, ForeignKey, ForeignKeyConstraint, Integer, Table, Text

from archive.holdings.tables.metadata import metadata

SCHEMA = "tap_schema"


def _name(column: str, target: str) -> Column[str]:
    return Column(column, Text, ForeignKey(f"{SCHEMA}.{target}", ondelete="CASCADE"), nullable=False)


schemas = Table(
    "schemas",
    metadata,
    Column("schema_name", Text, primary_key=True),
    Column("utype", Text),
    Column("description", Text),
    Column("schema_index", Integer),
    schema=SCHEMA,
)
tables = Table(
    "tables",
    metadata,
    _name("schema_name", "schemas.schema_name"),
    Column("table_name", Text, primary_key=True),
    Column("table_type", Text, nullable=False),
    Column("utype", Text),
    Column("description", Text),
    Column("table_index", Integer),
    schema=SCHEMA,
)
columns = Table(
    "columns",
    metadata,
    Column("table_name", Text, ForeignKey(f"{SCHEMA}.tables.table_name", ondelete="CASCADE"), primary_key=True),
    Column("column_name", Text, primary_key=True),
    Column("datatype", Text, nullable=False),
    Column("arraysize", Text),
    Column("xtype", Text),
    Column("size", Integer),
    Column("description", Text),
    Column("utype", Text),
    Column("unit", Text),
    Column("ucd", Text),
    Column("indexed", Integer, nullable=False),
    Column("principal", Integer, nullable=False),
    Column("std", Integer, nullable=False),
    Column("column_index", Integer),
    schema=SCHEMA,
)
keys = Table(
    "keys",
    metadata,
    Column("key_id", Text, primary_key=True),
    _name("from_table", "tables.table_name"),
    _name("target_table", "tables.table_name"),
    Column("description", Text),
    Column("utype", Text),
    schema=SCHEMA,
)
key_columns = Table(
    "key_columns",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("from_column", Text, primary_key=True),
    Column("target_column", Text, primary_key=True),
    ForeignKeyConstraint(["key_id"], [f"{SCHEMA}.keys.key_id"], ondelete="CASCADE"),
    schema=SCHEMA,
)
