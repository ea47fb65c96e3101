"""A made catalogue in Gaia's manner: 15 columns of every kind a survey has, with missing values.

Positions are even over a belt of declinations, so that a cone's rows follow from its size and the belt's width alone.
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from archive.vo.arrow import arrow_schema
from archive.vo.columns import Column, Table

COLUMNS = (
    Column("source_id", "long", ucd="meta.id;meta.main"),
    Column("ra", "double", unit="deg", ucd="pos.eq.ra;meta.main"),
    Column("dec", "double", unit="deg", ucd="pos.eq.dec;meta.main"),
    Column("ra_error", "float", unit="mas", ucd="stat.error;pos.eq.ra"),
    Column("dec_error", "float", unit="mas", ucd="stat.error;pos.eq.dec"),
    Column("parallax", "double", unit="mas", ucd="pos.parallax.trig"),
    Column("pmra", "double", unit="mas.yr**-1", ucd="pos.pm;pos.eq.ra"),
    Column("pmdec", "double", unit="mas.yr**-1", ucd="pos.pm;pos.eq.dec"),
    Column("phot_g_mean_mag", "float", unit="mag", ucd="phot.mag;em.opt"),
    Column("bp_rp", "float", unit="mag", ucd="phot.color"),
    Column("radial_velocity", "float", unit="km.s**-1", ucd="spect.dopplerVeloc.opt"),
    Column("phot_g_n_obs", "int", ucd="meta.number"),
    Column("phot_variable_flag", "char", "*", ucd="meta.code;src.var"),
    Column("designation", "char", "*", ucd="meta.id"),
    Column("duplicated_source", "boolean", ucd="meta.code.status"),
)


def star_table(name: str, rows: int) -> Table:
    """The declaration of the catalogue."""
    return Table(name, COLUMNS, f"{rows} made stars", title="Made stars", rows=rows)


def stars(rows: int, *, seed: int, belt_deg: float = 90.0, chunk_rows: int = 50_000) -> Iterator[pa.RecordBatch]:
    """The rows, a batch at a time, in order of source_id; a third of the astrometry and most velocities are missing.

    belt_deg: the largest declination, degrees.
    """
    height = np.sin(np.radians(belt_deg))
    random = np.random.default_rng(seed)
    schema = arrow_schema(COLUMNS)
    for first in range(0, rows, chunk_rows):
        count = min(chunk_rows, rows - first)
        number = np.arange(first, first + count, dtype=np.int64)
        source_id = number * 6_917_529_027 + 4_295_806_720
        magnitude = 21 - random.exponential(1.8, count)
        no_astrometry = random.random(count) < 1 / 3
        columns: list[tuple[np.ndarray, np.ndarray | None]] = [
            (source_id, None),
            (random.uniform(0, 360, count), None),
            (np.degrees(np.arcsin(random.uniform(-height, height, count))), None),
            (random.gamma(2, 0.1, count), None),
            (random.gamma(2, 0.1, count), None),
            (random.gamma(2, 0.5, count), no_astrometry),
            (random.normal(0, 6, count), no_astrometry),
            (random.normal(0, 6, count), no_astrometry),
            (magnitude, None),
            (random.normal(1.4, 0.5, count), random.random(count) < 0.1),
            (random.normal(0, 40, count), magnitude > 14),
            (random.integers(20, 600, count), None),
            (np.where(random.random(count) < 0.02, "VARIABLE", "NOT_AVAILABLE"), None),
            (np.char.add("Made ", source_id.astype(np.str_)), None),
            (random.random(count) < 0.01, None),
        ]
        arrays = [
            pa.array(values.tolist() if values.dtype.kind == "U" else values.astype(field.type.to_pandas_dtype()),
                     field.type, mask=missing)
            for (values, missing), field in zip(columns, schema, strict=True)
        ]  # fmt: skip
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)
