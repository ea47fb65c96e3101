"""Schema arc: one row a version of a file, whatever its kind; everything else hangs on file_id (domain 3, principle 1).

Portable truth only: positions are ra, dec; footprints an array of doubles (archive.sphere.sphere); the sphere's indexes
are the adapter's. No foreign keys to programmes or executions: files of unknown runs must come in.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from archive.holdings.tables.metadata import metadata

SCHEMA = "arc"


def _text(*names: str) -> list[Column[str]]:
    return [Column(name, Text) for name in names]


def _doubles(*names: str) -> list[Column[float]]:
    return [Column(name, Double) for name in names]


def _times(*names: str) -> list[Column[object]]:
    return [Column(name, DateTime(timezone=True)) for name in names]


def _integers(*names: str) -> list[Column[int]]:
    return [Column(name, Integer) for name in names]


file = Table(
    "file",
    metadata,
    Column("file_id", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    # what ObsCore asks for, in its names, units and frames (archive.holdings.model.DataProduct)
    Column("dataproduct_type", Text),
    Column("dataproduct_subtype", Text),
    Column("calib_level", SmallInteger, nullable=False),
    Column("obs_collection", Text, nullable=False),
    Column("obs_id", Text, nullable=False),
    Column("obs_publisher_did", Text, nullable=False),
    *_text("obs_title", "obs_creator_name", "obs_creator_did", "bib_reference", "target_name", "target_class"),
    *_times("obs_creation_date"),
    *_doubles("s_ra", "s_dec", "s_fov", "s_resolution", "s_pixel_scale", "gal_lon", "gal_lat"),
    Column("s_region", ARRAY(Double, dimensions=1)),
    Column("s_xel1", BigInteger),
    Column("s_xel2", BigInteger),
    *_doubles("t_min", "t_max", "t_exptime", "t_resolution"),
    Column("t_xel", BigInteger),
    *_doubles("em_min", "em_max", "em_res_power"),
    Column("em_xel", BigInteger),
    *_text("em_ucd", "o_ucd", "o_unit", "o_calib_status", "pol_states"),
    Column("pol_xel", BigInteger),
    *_text("facility_name", "instrument_name", "proposal_id", "filter"),
    *_doubles("abmaglim", "snr", "strehl"),
    *_integers("n_obs"),
    *_text("multi_ob", "obstech", "p3orig"),
    # the observatory's own keys
    *_text("dp_cat", "dp_type", "dp_tech", "pro_catg", "prodcatg"),
    Column("ob_id", BigInteger),
    *_text("tpl_id"),
    *_times("tpl_start"),
    *_integers("tpl_expno", "tpl_nexp"),
    *_text("origfile"),
    Column("progenitors", ARRAY(Text, dimensions=1), nullable=False, server_default=text("'{}'")),
    Column("setup", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("header", JSONB),
    # the bytes
    Column("source", Text, nullable=False, comment="where the file was offered: tells two files of one name apart"),
    Column("object_key", Text, nullable=False),
    Column("file_name", Text, nullable=False),
    Column("file_id_encoded", Text, nullable=False, comment="file_id, percent-encoded for a URL's query"),
    Column("media_type", Text, nullable=False),
    Column("file_size", BigInteger, nullable=False, comment="byte"),
    Column("sha256", Text, nullable=False),
    Column("md5", Text, nullable=False),
    # when, and for whom
    Column("arrived", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column("last_mod", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column("release_date", DateTime(timezone=True), comment="null of a proprietary file: no date is known"),
    Column("rights", Text, nullable=False),
    Column("superseded_at", DateTime(timezone=True), comment="null: the current version"),
    CheckConstraint(
        "kind IN ('raw','mcalib','product','ancillary','catalogue','log','document','preview')", name="kind"
    ),
    CheckConstraint("rights IN ('public','proprietary','secure')", name="rights"),
    CheckConstraint("calib_level BETWEEN 0 AND 4", name="calib_level"),
    CheckConstraint("version >= 1", name="version"),
    CheckConstraint("s_ra >= 0 AND s_ra < 360 AND s_dec BETWEEN -90 AND 90", name="position"),
    CheckConstraint("(s_ra IS NULL) = (s_dec IS NULL)", name="position_whole"),
    CheckConstraint(
        "cardinality(s_region) = 3 OR (cardinality(s_region) >= 6 AND mod(cardinality(s_region), 2) = 0)", name="region"
    ),
    CheckConstraint("t_min <= t_max", name="time"),
    CheckConstraint("em_min <= em_max AND em_min > 0", name="band"),
    schema=SCHEMA,
)

# One current version a file, and every look-up by file_id: the same index.
Index("uq_file_current", file.c.file_id, unique=True, postgresql_where=file.c.superseded_at.is_(None))
Index("uq_file_object_key", file.c.object_key, unique=True)
for _name in ("obs_publisher_did", "obs_collection", "obs_id", "t_min", "em_min", "dataproduct_type", "proposal_id",
              "release_date", "last_mod", "sha256"):  # fmt: skip
    Index(f"ix_file_{_name}", file.c[_name])

alias = Table(
    "alias",
    metadata,
    Column("alias", Text, primary_key=True),
    Column("kind", Text, primary_key=True, comment="origfile, did, run, dp_id"),
    Column("target", Text, primary_key=True, comment="file_id"),
    schema=SCHEMA,
)

preview = Table(
    "preview",
    metadata,
    Column("file_id", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("role", Text, primary_key=True),
    Column("object_key", Text, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("width", Integer, nullable=False, comment="pixel"),
    Column("height", Integer, nullable=False, comment="pixel"),
    Column("sha256", Text, nullable=False),
    Column("md5", Text, nullable=False),
    Column("made", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    CheckConstraint("role IN ('preview','thumbnail')", name="role"),
    # A picture is nothing without its file; its rights are the file's.
    ForeignKeyConstraint(["file_id", "version"], ["arc.file.file_id", "arc.file.version"], ondelete="CASCADE"),
    schema=SCHEMA,
)

published = Table(
    "published",
    metadata,
    Column("table_name", Text, primary_key=True, comment="as a user types it"),
    Column("sql_name", Text, nullable=False, comment="the relation that answers, quoted"),
    Column("title", Text),
    Column("row_count", BigInteger),
    Column("file_id", Text, comment="the file that a catalogue was read from"),
    Column("origin", JSONB, nullable=False, server_default=text("'{}'::jsonb"), comment="archive.vo.origin"),
    schema=SCHEMA,
)

own_space = Table(
    "own_space",
    metadata,
    Column("owner", Text, primary_key=True, comment="name of the user whose schema it is"),
    Column("schema_name", Text, nullable=False, unique=True),
    schema=SCHEMA,
)

own_table = Table(
    "own_table",
    metadata,
    Column("table_name", Text, primary_key=True, comment="as a user types it"),
    Column("owner", Text, ForeignKey("arc.own_space.owner"), nullable=False, index=True),
    Column("row_count", BigInteger, nullable=False),
    Column("size_bytes", BigInteger, nullable=False, comment="of its cells, as the quota counts them"),
    Column("made", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    schema=SCHEMA,
)

own_share = Table(
    "own_share",
    metadata,
    Column("table_name", Text, ForeignKey("arc.own_table.table_name", ondelete="CASCADE"), primary_key=True),
    Column("subject", Text, primary_key=True, index=True, comment="user:NAME or group:NAME, who may read it"),
    schema=SCHEMA,
)
