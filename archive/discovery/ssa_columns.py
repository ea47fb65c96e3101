"""The columns of SSA's answers, by utype (SSA 1.1 §4.2.5), and the SQL that fills each.

Access.Reference is the file itself, because SPLAT and CASSIS read it (SSA-06); a descriptor leads to all else.
"""

from archive.discovery.answer import Shown
from archive.vo.columns import Column


def _shown(name: str, datatype: str, utype: str | None, ucd: str | None, about: str, sql: str, unit: str | None = None,
           xtype: str | None = None) -> Shown:  # fmt: skip
    """sql: over ivoa.obscore AS o and pub.file AS f; {publisher} stands for the archive's name."""
    kind, size = ("char", "*") if datatype == "text" else ("double", "2") if datatype == "point" else (datatype, None)
    return Shown(
        Column(name, kind, size, xtype, unit, ucd, f"ssa:{utype}" if utype else None, about, principal=True), sql
    )


_SPACE, _TIME, _BAND = "Char.SpatialAxis.", "Char.TimeAxis.", "Char.SpectralAxis."
_MIDDLE, _WIDTH = "(o.em_min + o.em_max) / 2", "o.em_max - o.em_min"
_POINT = "CASE WHEN o.s_ra IS NOT NULL THEN ARRAY[o.s_ra, o.s_dec] END"
# fmt: off
SHOWN: tuple[Shown, ...] = (
    _shown("access_url", "text", "Access.Reference", "meta.ref.url", "Where to get the spectrum", "f.access_url"),
    _shown("access_format", "text", "Access.Format", "meta.code.mime", "Media type of the spectrum", "f.media_type"),
    _shown("access_estsize", "long", "Access.Size", "phys.size;meta.file", "Size of the file", "o.access_estsize", "kbyte"),
    _shown("data_model", "text", "Dataset.DataModel", "meta.code", "Data model that the file follows", "CASE WHEN f.prodcatg = 'SCIENCE.SPECTRUM' THEN 'Spectrum-2.0' ELSE 'native' END"),
    _shown("dataproduct_type", "text", "Dataset.Type", "meta.code.class", "Kind of data", "'Spectrum'::text"),
    _shown("em_xel", "long", "Dataset.Length", "meta.number", "Number of samples", "o.em_xel"),
    _shown("obs_title", "text", "DataID.Title", "meta.title;meta.dataset", "One line about the spectrum", "coalesce(o.obs_title, o.dp_id)"),
    _shown("obs_creator_name", "text", "DataID.Creator", "meta.curation", "Who made the spectrum", "o.obs_creator_name"),
    _shown("obs_collection", "text", "DataID.Collection", "meta.id", "Collection", "o.obs_collection"),
    _shown("obs_creator_did", "text", "DataID.CreatorDID", "meta.id", "The creator's identifier of the spectrum", "o.obs_creator_did"),
    _shown("obs_creation_date", "text", "DataID.Date", "time;meta.dataset", "When the file was made", "o.obs_creation_date", xtype="timestamp"),
    _shown("creation_type", "text", "DataID.CreationType", "meta.code", "How the spectrum came to be", "'archival'::text"),
    _shown("facility_name", "text", None, "meta.id;instr.tel", "Telescope", "o.facility_name"),
    _shown("instrument_name", "text", "DataID.Instrument", "meta.id;instr", "Instrument", "o.instrument_name"),
    _shown("publisher", "text", "Curation.Publisher", "meta.curation", "Who serves the spectrum", "{publisher}"),
    _shown("obs_publisher_did", "text", "Curation.PublisherDID", "meta.ref.ivoid;meta.main", "This archive's identifier of the spectrum", "o.obs_publisher_did"),
    _shown("bib_reference", "text", "Curation.Reference", "meta.bib.bibcode", "Bibcode or DOI to cite", "o.bib_reference"),
    _shown("data_rights", "text", "Curation.Rights", "meta.code", "public or proprietary", "o.data_rights"),
    _shown("target_name", "text", "Target.Name", "meta.id;src", "Object, as the observer named it", "o.target_name"),
    _shown("target_class", "text", "Target.Class", "src.class", "Class of the object", "o.target_class"),
    _shown("s_ra", "double", None, "pos.eq.ra;meta.main", "Right ascension, ICRS", "o.s_ra", "deg"),
    _shown("s_dec", "double", None, "pos.eq.dec;meta.main", "Declination, ICRS", "o.s_dec", "deg"),
    _shown("location", "point", f"{_SPACE}Coverage.Location.Value", "pos.eq", "Position, ICRS", _POINT, "deg", "point"),
    _shown("s_fov", "double", f"{_SPACE}Coverage.Bounds.Extent", "instr.fov", "Diameter of the aperture", "o.s_fov", "deg"),
    _shown("s_resolution", "double", f"{_SPACE}Resolution", "pos.angResolution", "Angular resolution (FWHM)", "o.s_resolution / 3600", "deg"),
    _shown("t_location", "double", f"{_TIME}Coverage.Location.Value", "time.epoch;obs.exposure", "Middle of the observation, MJD (UTC)", "(o.t_min + o.t_max) / 2", "d"),
    _shown("t_exptime", "double", f"{_TIME}Coverage.Bounds.Extent", "time.duration;obs.exposure", "Exposure time", "o.t_exptime", "s"),
    _shown("t_min", "double", f"{_TIME}Coverage.Bounds.Start", "time.start;obs.exposure", "Start of the observation, MJD (UTC)", "o.t_min", "d"),
    _shown("t_max", "double", f"{_TIME}Coverage.Bounds.Stop", "time.end;obs.exposure", "End of the observation, MJD (UTC)", "o.t_max", "d"),
    _shown("em_location", "double", f"{_BAND}Coverage.Location.Value", "em.wl;instr.bandpass", "Middle of the spectrum, in vacuum", _MIDDLE, "m"),
    _shown("em_extent", "double", f"{_BAND}Coverage.Bounds.Extent", "em.wl;instr.bandwidth", "Width of the spectrum", _WIDTH, "m"),
    _shown("em_min", "double", f"{_BAND}Coverage.Bounds.Start", "em.wl;stat.min", "Shortest wavelength, in vacuum", "o.em_min", "m"),
    _shown("em_max", "double", f"{_BAND}Coverage.Bounds.Stop", "em.wl;stat.max", "Longest wavelength, in vacuum", "o.em_max", "m"),
    _shown("em_ucd", "text", f"{_BAND}Ucd", "meta.ucd", "UCD of the spectral axis", "o.em_ucd"),
    _shown("em_resolution", "double", f"{_BAND}Resolution", "spect.resolution;em.wl", "Smallest wavelength difference told apart, in the middle", f"{_MIDDLE} / nullif(o.em_res_power, 0)", "m"),
    _shown("em_res_power", "double", f"{_BAND}ResPower", "spect.resolution", "Spectral resolving power, lambda / delta lambda", "o.em_res_power"),
    _shown("o_ucd", "text", "Char.FluxAxis.Ucd", "meta.ucd", "UCD of the flux", "o.o_ucd"),
    _shown("o_unit", "text", "Char.FluxAxis.Unit", "meta.unit", "Unit of the flux", "o.o_unit"),
    _shown("o_calib_status", "text", "Char.FluxAxis.Calibration", "meta.code.qual", "Calibration of the flux", "o.o_calib_status"),
    _shown("snr", "double", "Derived.SNR", "stat.snr", "Signal to noise", "o.snr"),
)
# fmt: on
COLUMNS = tuple(one.column for one in SHOWN)
