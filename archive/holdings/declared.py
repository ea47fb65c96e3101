"""The tables that every archive publishes: TAP_SCHEMA itself, ivoa.obscore, and arc.file, the files as they are."""

from archive.holdings.obscore import COLUMNS, OBSCORE, OBSPLAN
from archive.vo.columns import Column, ForeignKey, Schema, Table

OBSCORE_COLUMNS = {column.name: column for column in COLUMNS}


def _std(name: str, datatype: str, description: str) -> Column:
    """A column of TAP_SCHEMA; all are standard (TAP-34)."""
    text = datatype == "text"
    return Column(
        name=name,
        datatype="char" if text else datatype,
        arraysize="*" if text else None,
        description=description,
        std=True,
        principal=True,
    )


def _schema_tables() -> tuple[Table, ...]:
    name, of = "table_name", "tap_schema"
    return (
        Table(
            name=f"{of}.schemas",
            description="Schemas of this service",
            columns=(
                _std("schema_name", "text", "Name of the schema"),
                _std("utype", "text", "utype of the schema"),
                _std("description", "text", "What the schema holds"),
                _std("schema_index", "int", "Order in which schemas are shown"),
            ),
        ),
        Table(
            name=f"{of}.tables",
            description="Tables of this service",
            columns=(
                _std("schema_name", "text", "Schema that the table belongs to"),
                _std(name, "text", "Name of the table, as it is typed in a query"),
                _std("table_type", "text", "table or view"),
                _std("utype", "text", "utype of the table"),
                _std("description", "text", "What the table holds"),
                _std("table_index", "int", "Order in which tables are shown"),
            ),
            keys=(ForeignKey(f"{of}.schemas", (("schema_name", "schema_name"),)),),
        ),
        Table(
            name=f"{of}.columns",
            description="Columns of the tables of this service",
            columns=(
                _std(name, "text", "Table that the column belongs to"),
                _std("column_name", "text", "Name of the column, as it is typed in a query"),
                _std("datatype", "text", "VOTable datatype"),
                _std("arraysize", "text", "VOTable arraysize"),
                _std("xtype", "text", "DALI xtype"),
                _std("size", "int", "Length of a one-dimensional array; deprecated, use arraysize"),
                _std("description", "text", "What the column holds"),
                _std("utype", "text", "utype of the column"),
                _std("unit", "text", "Unit (VOUnits)"),
                _std("ucd", "text", "UCD1+"),
                _std("indexed", "int", "1 if the database has an index on it"),
                _std("principal", "int", "1 if a novice should see it"),
                _std("std", "int", "1 if a standard defines it"),
                _std("column_index", "int", "Order of the columns in their table"),
            ),
            keys=(ForeignKey(f"{of}.tables", ((name, name),)),),
        ),
        Table(
            name=f"{of}.keys",
            description="Foreign keys between the tables of this service",
            columns=(
                _std("key_id", "text", "Identifier of the key"),
                _std("from_table", "text", "Table that refers"),
                _std("target_table", "text", "Table that is referred to"),
                _std("description", "text", "What the key means"),
                _std("utype", "text", "utype of the key"),
            ),
            keys=(
                ForeignKey(f"{of}.tables", (("from_table", name),)),
                ForeignKey(f"{of}.tables", (("target_table", name),)),
            ),
        ),
        Table(
            name=f"{of}.key_columns",
            description="Columns of the foreign keys",
            columns=(
                _std("key_id", "text", "Identifier of the key"),
                _std("from_column", "text", "Column that refers"),
                _std("target_column", "text", "Column that is referred to"),
            ),
            keys=(ForeignKey(f"{of}.keys", (("key_id", "key_id"),)),),
        ),
    )


def _own(name: str, datatype: str, description: str, **more: str | bool) -> Column:
    text = datatype in ("text", "timestamp")
    return Column(
        name=name,
        datatype="char" if text else datatype,
        arraysize="*" if text else None,
        xtype="timestamp" if datatype == "timestamp" else None,
        description=description,
        unit=str(more["unit"]) if "unit" in more else None,
        ucd=str(more["ucd"]) if "ucd" in more else None,
        indexed=bool(more.get("indexed", False)),
        principal=bool(more.get("principal", False)),
    )


ARC_FILE = Table(
    name="arc.file",
    title="Files",
    description="Every file of this archive in its current version: raw frames, calibrations, products, documents",
    kind="view",
    columns=(
        _own("file_id", "text", "The file's identifier", ucd="meta.id;meta.main", indexed=True, principal=True),
        _own("version", "int", "The file's version, from 1", ucd="meta.version", principal=True),
        _own("kind", "text", "raw, mcalib, product, ancillary, catalogue, log, document or preview", principal=True),
        _own("dp_cat", "text", "Category of a raw frame (DPR CATG)", principal=True),
        _own("dp_type", "text", "Type of a raw frame (DPR TYPE)", principal=True),
        _own("dp_tech", "text", "Technique of a raw frame (DPR TECH)"),
        _own("pro_catg", "text", "Category of a pipeline product (PRO CATG)"),
        _own("prodcatg", "text", "Category of a Phase 3 product (PRODCATG)"),
        _own("obs_collection", "text", "Collection", ucd="meta.id", indexed=True, principal=True),
        _own("facility_name", "text", "Telescope", ucd="meta.id;instr.tel"),
        _own("instrument_name", "text", "Instrument", ucd="meta.id;instr", principal=True),
        _own("target_name", "text", "Object, as the observer named it", ucd="meta.id;src", principal=True),
        _own("s_ra", "double", "Right ascension, ICRS", unit="deg", ucd="pos.eq.ra;meta.main", indexed=True),
        _own("s_dec", "double", "Declination, ICRS", unit="deg", ucd="pos.eq.dec;meta.main", indexed=True),
        _own("t_min", "double", "Start, MJD (UTC)", unit="d", ucd="time.start;obs.exposure", indexed=True),
        _own("t_exptime", "double", "Exposure time", unit="s", ucd="time.duration;obs.exposure"),
        _own("proposal_id", "text", "Run", ucd="meta.id;obs.proposal", indexed=True),
        _own("ob_id", "long", "Observation block", ucd="meta.id"),
        _own("tpl_id", "text", "Template"),
        _own("tpl_start", "timestamp", "Start of the template", ucd="time.start"),
        _own("tpl_expno", "int", "Number of the exposure within its template"),
        _own("tpl_nexp", "int", "Exposures of the template"),
        _own("origfile", "text", "Name of the file at its author's"),
        _own("file_name", "text", "Name of the file when it is downloaded", ucd="meta.file"),
        _own("media_type", "text", "Media type", ucd="meta.code.mime"),
        _own("access_url", "text", "Where to download the file", ucd="meta.ref.url"),
        _own("file_size", "long", "Size", unit="byte", ucd="phys.size;meta.file"),
        _own("sha256", "text", "SHA-256 of the bytes", ucd="meta.checksum", indexed=True),
        _own("md5", "text", "MD5 of the bytes", ucd="meta.checksum"),
        _own("arrived", "timestamp", "When it came in", ucd="time.creation"),
        _own("last_mod", "timestamp", "When its metadata last changed", ucd="time.processing", indexed=True),
        _own("release_date", "timestamp", "When it became or becomes public", ucd="time.release", indexed=True),
        _own("rights", "text", "public, or proprietary until release_date"),
    ),
)

SCHEMAS: tuple[Schema, ...] = (
    Schema("ivoa", "Tables that the Virtual Observatory's standards define", tables=(OBSCORE, OBSPLAN)),
    Schema("arc", "The archive's files as they are", tables=(ARC_FILE,)),
    Schema("cat", "Catalogues", tables=()),
    Schema("tap_schema", "What this service holds, described by itself", tables=_schema_tables()),
)
PUBLISHED_SQL = {"arc.file": '"pub"."file"'}  # published name -> relation, where they differ
