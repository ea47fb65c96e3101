"""The columns of ivoa.obscore: ObsCore 1.1 with Errata 1 to 3, the optional ones, and ESO's extra ones.

The only list of them: the view, TAP_SCHEMA, VOSI and the result tables are made from it. `std` marks the 30 mandatory
and the optional columns of the standard (OBS-01, OBS-08); the others are the observatory's own (domain 5.1).
"""

from dataclasses import replace

from archive.vo.columns import Column, Table

ID = "ivo://ivoa.net/std/ObsCore#core-1.1"


def _column(  # one line a column reads better than fifty keyword calls
    name: str, datatype: str, unit: str | None, ucd: str | None, utype: str | None, description: str, *,
    principal: bool = False, indexed: bool = False, xtype: str | None = None,
) -> Column:  # fmt: skip
    return Column(
        name=name,
        datatype="char" if datatype == "text" else datatype,
        arraysize="*" if datatype == "text" else None,
        xtype=xtype,
        unit=unit,
        ucd=ucd,
        utype=f"obscore:{utype}" if utype else None,
        description=description,
        principal=principal,
        indexed=indexed,
        std=utype is not None,
    )


_AXIS = "Char.SpatialAxis."
_TIME = "Char.TimeAxis."
_SPECTRAL = "Char.SpectralAxis."
# fmt: off
COLUMNS: tuple[Column, ...] = (
    _column("dataproduct_type", "text", None, "meta.code.class", "ObsDataset.dataProductType", "Kind of data: image, cube, spectrum, sed, timeseries, visibility, event or measurements", principal=True, indexed=True),
    _column("dataproduct_subtype", "text", None, "meta.code.class", "ObsDataset.dataProductSubtype", "Narrower kind of data, in the collection's own words"),
    _column("calib_level", "int", None, "meta.code;obs.calib", "ObsDataset.calibLevel", "Calibration: 0 instrument's own format, 1 raw, 2 calibrated, 3 combined, 4 analysed", principal=True),
    _column("obs_collection", "text", None, "meta.id", "DataID.Collection", "Collection that the data belong to", principal=True, indexed=True),
    _column("obs_id", "text", None, "meta.id", "DataID.observationID", "Observation that the data come from", principal=True, indexed=True),
    _column("obs_publisher_did", "text", None, "meta.ref.ivoid", "Curation.PublisherDID", "This archive's identifier of the data set", principal=True, indexed=True),
    _column("access_url", "text", None, "meta.ref.url", "Access.Reference", "DataLink: all that can be had of the data set", principal=True),
    _column("access_format", "text", None, "meta.code.mime", "Access.Format", "Media type of access_url", principal=True),
    _column("access_estsize", "long", "kbyte", "phys.size;meta.file", "Access.Size", "Size of the data file, kilobytes", principal=True),
    _column("target_name", "text", None, "meta.id;src", "Target.Name", "Object observed, as the observer named it", principal=True),
    _column("s_ra", "double", "deg", "pos.eq.ra", f"{_AXIS}Coverage.Location.Coord.Position2D.Value2.C1", "Right ascension of the centre, ICRS", principal=True, indexed=True),
    _column("s_dec", "double", "deg", "pos.eq.dec", f"{_AXIS}Coverage.Location.Coord.Position2D.Value2.C2", "Declination of the centre, ICRS", principal=True, indexed=True),
    _column("s_fov", "double", "deg", "phys.angSize;instr.fov", f"{_AXIS}Coverage.Bounds.Extent.diameter", "Diameter of the circle around the footprint", principal=True),
    _column("s_region", "text", None, "pos.outline;obs.field", f"{_AXIS}Coverage.Support.Area", "Footprint on the sky, ICRS, as STC-S", principal=True, indexed=True, xtype="adql:REGION"),
    _column("s_resolution", "double", "arcsec", "pos.angResolution", f"{_AXIS}Resolution.Refval.value", "Angular resolution (FWHM)", principal=True),
    _column("s_xel1", "long", None, "meta.number", f"{_AXIS}numBins1", "Pixels along the first spatial axis"),
    _column("s_xel2", "long", None, "meta.number", f"{_AXIS}numBins2", "Pixels along the second spatial axis"),
    _column("t_min", "double", "d", "time.start;obs.exposure", f"{_TIME}Coverage.Bounds.Limits.StartTime", "Start of the observation, MJD (UTC)", principal=True, indexed=True),
    _column("t_max", "double", "d", "time.end;obs.exposure", f"{_TIME}Coverage.Bounds.Limits.StopTime", "End of the observation, MJD (UTC)", principal=True, indexed=True),
    _column("t_exptime", "double", "s", "time.duration;obs.exposure", f"{_TIME}Coverage.Support.Extent", "Total exposure time", principal=True),
    _column("t_resolution", "double", "s", "time.resolution", f"{_TIME}Resolution.Refval.value", "Resolution in time", principal=True),
    _column("t_xel", "long", None, "meta.number", f"{_TIME}numBins", "Samples along the time axis"),
    _column("em_min", "double", "m", "em.wl;stat.min", f"{_SPECTRAL}Coverage.Bounds.Limits.LoLimit", "Shortest wavelength, in vacuum", principal=True, indexed=True),
    _column("em_max", "double", "m", "em.wl;stat.max", f"{_SPECTRAL}Coverage.Bounds.Limits.HiLimit", "Longest wavelength, in vacuum", principal=True, indexed=True),
    _column("em_res_power", "double", None, "spect.resolution", f"{_SPECTRAL}Resolution.ResolPower.refVal", "Spectral resolving power, lambda / delta lambda", principal=True),
    _column("em_xel", "long", None, "meta.number", f"{_SPECTRAL}numBins", "Samples along the spectral axis"),
    _column("o_ucd", "text", None, "meta.ucd", "Char.ObservableAxis.ucd", "UCD of what was measured", principal=True),
    _column("pol_states", "text", None, "meta.code;phys.polarization", "Char.PolarizationAxis.stateList", "Polarization states, like /I/Q/U/V/"),
    _column("pol_xel", "long", None, "meta.number", "Char.PolarizationAxis.numBins", "Number of polarization states"),
    _column("facility_name", "text", None, "meta.id;instr.tel", "Provenance.ObsConfig.Facility.name", "Telescope", principal=True),
    _column("instrument_name", "text", None, "meta.id;instr", "Provenance.ObsConfig.Instrument.name", "Instrument", principal=True),
    # optional ones of the standard
    _column("obs_title", "text", None, "meta.title;obs", "DataID.Title", "One line about the data set"),
    _column("obs_creator_name", "text", None, "meta.id", "DataID.Creator", "Who made the data"),
    _column("obs_creator_did", "text", None, "meta.id", "DataID.CreatorDID", "The creator's identifier of the data set"),
    _column("obs_creation_date", "text", None, "time;meta.dataset", "DataID.Date", "When the file was made", xtype="timestamp"),
    _column("obs_release_date", "text", None, "time.release", "Curation.releaseDate", "When the data became or become public", indexed=True, xtype="timestamp"),
    _column("data_rights", "text", None, "meta.code", "Curation.Rights", "public, or proprietary until obs_release_date", principal=True),
    _column("publisher_id", "text", None, "meta.ref.ivoid", "Curation.PublisherID", "IVOA identifier of this archive"),
    _column("bib_reference", "text", None, "meta.bib.bibcode", "Curation.Reference", "Bibcode or DOI to cite"),
    _column("target_class", "text", None, "src.class", "Target.Class", "Class of the object"),
    _column("s_pixel_scale", "double", "arcsec", "phys.angSize;instr.pixel", f"{_AXIS}Sampling.RefVal.SamplingPeriod", "Size of a pixel"),
    _column("em_ucd", "text", None, "meta.ucd", f"{_SPECTRAL}ucd", "UCD of the spectral axis"),
    _column("o_unit", "text", None, "meta.unit", "Char.ObservableAxis.unit", "Unit of what was measured"),
    _column("o_calib_status", "text", None, "meta.code.qual", "Char.ObservableAxis.calibrationStatus", "absolute, relative, normalized or uncalibrated"),
    _column("proposal_id", "text", None, "meta.id;obs.proposal", "Provenance.Proposal.identifier", "Run or proposal that the data were taken for", indexed=True),
    # the observatory's own
    _column("dp_id", "text", None, "meta.id;meta.main", None, "The file's identifier; joins to arc.file", principal=True, indexed=True),
    _column("dp_version", "int", None, "meta.version", None, "The file's version, from 1"),
    _column("filter", "text", None, "meta.id;instr.filter", None, "Filter"),
    _column("abmaglim", "double", "mag", "phot.mag;stat.max", None, "Limiting magnitude (AB, point source)"),
    _column("snr", "double", None, "stat.snr", None, "Signal to noise (spectra)"),
    _column("strehl", "double", None, "instr.setup", None, "Strehl ratio"),
    _column("n_obs", "int", None, "meta.number", None, "Exposures combined"),
    _column("multi_ob", "text", None, "meta.code", None, "S: one observation block, M: several"),
    _column("obstech", "text", None, "meta.code;instr.setup", None, "Technique of observation"),
    _column("p3orig", "text", None, "meta.code", None, "IDP: reduced in house, EDP: delivered from outside"),
    _column("gal_lon", "double", "deg", "pos.galactic.lon", None, "Galactic longitude of the centre"),
    _column("gal_lat", "double", "deg", "pos.galactic.lat", None, "Galactic latitude of the centre"),
    _column("release_description", "text", None, "meta.ref.url", None, "Description of the release"),
    _column("preview_html", "text", None, "meta.ref.url", None, "The data set's page"),
    _column("publication_date", "text", None, "time.release", None, "When the data set appeared in this archive", xtype="timestamp"),
    _column("last_mod_date", "text", None, "time.processing", None, "When its metadata last changed: the key for harvesting", indexed=True, xtype="timestamp"),
)
# fmt: on

# ObsLocTAP 1.0 §3.3: what is planned, in ObsCore's columns and a few of its own.
_PLANNED = (
    "target_name",
    "obs_id",
    "obs_collection",
    "s_ra",
    "s_dec",
    "s_fov",
    "s_region",
    "s_resolution",
    "t_min",
    "t_max",
    "t_exptime",
    "t_resolution",
    "em_min",
    "em_max",
    "em_res_power",
    "o_ucd",
    "pol_states",
    "pol_xel",
    "facility_name",
    "instrument_name",
)
_BY_NAME = {column.name: column for column in COLUMNS}


# Its utypes are ObsCore's without the prefix, and two of them in another case.
_PLAN_UTYPES = {"target_name": "Target.name", "obs_collection": "DataID.collection"}


def _planned(name: str) -> Column:
    column = _BY_NAME[name]
    utype = _PLAN_UTYPES.get(name, (column.utype or "").removeprefix("obscore:"))
    return replace(column, utype=utype, indexed=False)


def _plan(name: str, datatype: str, description: str, *, unit: str | None = None) -> Column:
    text = datatype == "text"
    return Column(
        name,
        "char" if text else datatype,
        "*" if text else None,
        unit=unit,
        description=description,
        principal=True,
        std=True,
    )


OBSPLAN = Table(
    name="ivoa.obsplan",
    columns=(
        _plan("t_planning", "double", "When this was planned, MJD", unit="d"),
        *map(_planned, _PLANNED),
        replace(_planned("t_exptime"), name="t_plan_exptime", description="Planned exposure time"),
        _plan("category", "text", "Kind of schedule: Fixed, Coordinated, Window or Other"),
        _plan("priority", "int", "Priority: 0 highest, 2 lowest"),
        _plan("execution_status", "text", "Planned, Scheduled, Unscheduled, Performed or Aborted"),
        _plan("tracking_type", "text", "Sidereal, Solar-system-object-tracking or Fixed-az-el-transit"),
    ),
    description="Observations that are planned or scheduled (ObsLocTAP 1.0); empty until schedules are taken in",
    utype="ivo://ivoa.net/std/obsloctap#table-1.0",
    kind="view",
    title="Planned observations (ObsLocTAP)",
)
OBSCORE = Table(
    name="ivoa.obscore",
    columns=COLUMNS,
    description="Every data set of this archive, as ObsCore 1.1 describes it, with the observatory's own columns",
    utype=ID,
    kind="view",
    title="Data sets (ObsCore)",
)
