"""Simple Image Access 2.0: its parameters, and the rows of ivoa.obscore that they mean. HTTP is router.py's."""

from archive.discovery import conditions as rows
from archive.discovery.conditions import Bound, column
from archive.discovery.parameters import RESPONSEFORMAT, Parameter, conditions, maxrec
from archive.holdings.obscore import COLUMNS
from archive.holdings.running import Statement
from archive.sphere.sphere import Sphere
from archive.sphere.values import stcs_of
from archive.vo.dali import Parameters
from archive.vo.descriptors import Input

STANDARD_ID = "ivo://ivoa.net/std/SIA#query-2.0"
TYPES = ("image", "cube")
_INTERVAL = "an interval `low high`, or one number"


def _interval(name: str, of: str, about: str, unit: str | None, ucd: str) -> Parameter:
    told = Input(name, f"{about}: {_INTERVAL}", "double", "2", "interval", unit, ucd)
    return Parameter(told, rows.lies_in(of))


def _text(name: str, of: str, about: str, ucd: str, *, offered: bool = False) -> Parameter:
    return Parameter(Input(name, about, ucd=ucd), rows.is_one_of(of), of if offered else None)


def parameters(default_maxrec: int, hard_maxrec: int) -> tuple[Parameter, ...]:
    """All of SIA 2.0 §2.1; each may be given several times, of which one must hold."""
    return (
        Parameter(
            Input("POS", "Region that s_region meets, ICRS: CIRCLE ra dec radius, RANGE ra1 ra2 dec1 dec2 or POLYGON "
                  "ra1 dec1 ra2 dec2 ra3 dec3 ...", unit="deg", ucd="pos.outline;obs"),
            rows.meets_region("s_region"),
        ),
        Parameter(
            Input("BAND", f"Wavelengths in vacuum that the data cover: {_INTERVAL}", "double", "2", "interval", "m",
                  "em.wl;stat.interval"),
            rows.covers_band,
        ),
        Parameter(
            Input("TIME", f"Times that the data cover, MJD (UTC): {_INTERVAL}", "double", "2", "interval", "d",
                  "time.interval;obs.exposure"),
            rows.overlaps("t_min", "t_max"),
        ),
        Parameter(
            Input("POL", "Polarization state", ucd="meta.code;phys.polarization", values=rows.POLARIZATIONS),
            rows.has_polarization("pol_states"),
        ),
        _interval("FOV", "s_fov", "Field of view", "deg", "phys.angSize;instr.fov"),
        _interval("SPATRES", "s_resolution", "Angular resolution", "arcsec", "pos.angResolution"),
        _interval("SPECRP", "em_res_power", "Spectral resolving power", None, "spect.resolution"),
        _interval("EXPTIME", "t_exptime", "Exposure time", "s", "time.duration;obs.exposure"),
        _interval("TIMERES", "t_resolution", "Resolution in time", "s", "time.resolution"),
        Parameter(Input("ID", "Publisher DID", ucd="meta.ref.ivoid"), rows.is_ivoid("obs_publisher_did")),
        _text("COLLECTION", "obs_collection", "Collection", "meta.id", offered=True),
        _text("FACILITY", "facility_name", "Telescope", "meta.id;instr.tel", offered=True),
        _text("INSTRUMENT", "instrument_name", "Instrument", "meta.id;instr", offered=True),
        Parameter(
            Input("DPTYPE", "Kind of data", ucd="meta.code.class", values=TYPES), rows.is_one_of("dataproduct_type")
        ),
        Parameter(
            Input("CALIB", "Calibration level", "int", None, ucd="meta.code;obs.calib", minimum="0", maximum="4",
                  values=("0", "1", "2", "3", "4")),
            rows.is_number("calib_level"),
        ),
        _text("TARGET", "target_name", "Object, as the observer named it", "meta.id;src"),
        _text("FORMAT", "access_format", "Media type of access_url", "meta.code.mime", offered=True),
        maxrec(default_maxrec, hard_maxrec),
        RESPONSEFORMAT,
    )  # fmt: skip


def statement(declared: tuple[Parameter, ...], asked: Parameters, sphere: Sphere, limit: int) -> Statement:
    """The images and cubes asked for, in ObsCore's columns. limit: rows at the most. UsageError: a value is wrong."""
    bound = Bound(sphere)
    where = [f"{column('dataproduct_type')} = ANY({bound(list(TYPES))})", *conditions(declared, asked, bound)]
    shown = ", ".join(
        f"{stcs_of(column(one.name))} AS {column(one.name)}" if one.xtype == "adql:REGION" else column(one.name)
        for one in COLUMNS
    )
    sql = f"SELECT {shown} FROM ivoa.obscore WHERE {' AND '.join(where)} LIMIT {bound(limit)}"  # noqa: S608 - bound
    return Statement(sql, bound.values, COLUMNS)
