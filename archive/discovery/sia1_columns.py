"""The columns of SIA 1's answers, by UCD (SIA 1.0 §4.2), and the SQL that fills each.

The access reference is the file itself, because such clients open it; a descriptor leads to all else.
"""

from archive.discovery.answer import Shown
from archive.vo.columns import Column

FITS = "image/fits"  # the standard's word for what HTTP calls application/fits (RFC 4047)


def _shown(name: str, datatype: str, ucd: str, about: str, sql: str, unit: str | None = None) -> Shown:
    """sql: over ivoa.obscore AS o and pub.file AS f. datatype: with [] for an array of any length."""
    kind, array, _ = datatype.partition("[")
    size = "*" if array or kind == "text" else None
    column = Column(name, "char" if kind == "text" else kind, size, None, unit, ucd, None, about, principal=True)
    return Shown(column, sql)


_IS_CUBE = "o.dataproduct_type = 'cube' AND o.em_xel IS NOT NULL"
# fmt: off
SHOWN: tuple[Shown, ...] = (
    _shown("title", "text", "VOX:Image_Title", "One line about the image", "coalesce(o.obs_title, o.target_name, o.dp_id)"),
    _shown("instrument", "text", "INST_ID", "Instrument", "o.instrument_name"),
    _shown("mjd_obs", "double", "VOX:Image_MJDateObs", "Middle of the observation, MJD (UTC)", "(o.t_min + o.t_max) / 2", "d"),
    _shown("ra", "double", "POS_EQ_RA_MAIN", "Right ascension of the centre, ICRS", "o.s_ra", "deg"),
    _shown("dec", "double", "POS_EQ_DEC_MAIN", "Declination of the centre, ICRS", "o.s_dec", "deg"),
    _shown("naxes", "int", "VOX:Image_Naxes", "Number of axes", f"CASE WHEN {_IS_CUBE} THEN 3 ELSE 2 END"),
    _shown("naxis", "int[]", "VOX:Image_Naxis", "Pixels along each axis", f"(ARRAY[o.s_xel1, o.s_xel2] || CASE WHEN {_IS_CUBE} THEN ARRAY[o.em_xel] END)::int[]"),
    _shown("scale", "double[]", "VOX:Image_Scale", "Size of a pixel along each spatial axis", "ARRAY[o.s_pixel_scale / 3600, o.s_pixel_scale / 3600]", "deg"),
    _shown("format", "text", "VOX:Image_Format", "Media type of the image", f"CASE f.media_type WHEN 'application/fits' THEN '{FITS}' ELSE f.media_type END"),
    _shown("frame", "text", "VOX:STC_CoordRefFrame", "Frame of the centre", "'ICRS'::text"),
    _shown("bandpass", "text", "VOX:BandPass_ID", "Filter", "o.filter"),
    _shown("bandpass_unit", "text", "VOX:BandPass_Unit", "Unit of the bandpass", "'meters'::text"),
    _shown("bandpass_middle", "double", "VOX:BandPass_RefValue", "Middle of the bandpass, in vacuum", "(o.em_min + o.em_max) / 2", "m"),
    _shown("bandpass_high", "double", "VOX:BandPass_HiLimit", "Longest wavelength, in vacuum", "o.em_max", "m"),
    _shown("bandpass_low", "double", "VOX:BandPass_LoLimit", "Shortest wavelength, in vacuum", "o.em_min", "m"),
    _shown("access_url", "text", "VOX:Image_AccessReference", "Where to get the image", "f.access_url"),
    _shown("size_bytes", "long", "VOX:Image_FileSize", "Size of the file", "f.file_size", "byte"),
    _shown("collection", "text", "meta.id", "Collection", "o.obs_collection"),
    _shown("data_rights", "text", "meta.code", "public or proprietary", "o.data_rights"),
    _shown("obs_publisher_did", "text", "meta.ref.ivoid;meta.main", "This archive's identifier of the image", "o.obs_publisher_did"),
)
# fmt: on
COLUMNS = tuple(one.column for one in SHOWN)
