"""What the archive has, as values: frozen, with ObsCore's names and units. No database, no HTTP.

Describing a file (ingest.describe) makes a DataProduct; the holdings' queries store it and give it back.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from archive.vo.regions import Circle, Polygon

Kind = Literal["raw", "mcalib", "product", "ancillary", "catalogue", "log", "document", "preview"]
Rights = Literal["public", "proprietary", "secure"]
CALIB_LEVELS = range(5)
DATAPRODUCT_TYPES = frozenset({"image", "cube", "spectrum", "sed", "timeseries", "visibility", "event", "measurements"})


@dataclass(frozen=True, slots=True)
class DataProduct:
    """One file's science metadata, as ObsCore 1.1 names and measures it.

    file_id: ARCFILE or DP.ID where the header has one, else collection and relative path; version is the holdings'.
    s_ra, s_dec: ICRS degrees, 0 <= s_ra < 360; None where there is no position (never a sentinel).
    s_region: the footprint of valid pixels; its winding is counter-clockwise seen from inside the sphere.
    s_fov: degrees; s_resolution, s_pixel_scale: arcsec. t_min, t_max: MJD, UTC, days; t_exptime, t_resolution: s.
    em_min, em_max: vacuum wavelength, m; em_res_power: lambda / delta lambda.
    pol_states: "/I/Q/U/V/" or None. setup: instrument keys used for matching. header: all HDUs' cards, JSON-ready.
    """

    file_id: str
    kind: Kind
    obs_collection: str
    obs_id: str
    calib_level: int
    dataproduct_type: str | None
    dataproduct_subtype: str | None = None
    obs_title: str | None = None
    obs_creator_name: str | None = None
    obs_creator_did: str | None = None
    obs_creation_date: datetime | None = None
    bib_reference: str | None = None
    target_name: str | None = None
    target_class: str | None = None
    s_ra: float | None = None
    s_dec: float | None = None
    s_fov: float | None = None
    s_region: Circle | Polygon | None = None
    s_resolution: float | None = None
    s_xel1: int | None = None
    s_xel2: int | None = None
    s_pixel_scale: float | None = None
    t_min: float | None = None
    t_max: float | None = None
    t_exptime: float | None = None
    t_resolution: float | None = None
    t_xel: int | None = None
    em_min: float | None = None
    em_max: float | None = None
    em_res_power: float | None = None
    em_xel: int | None = None
    em_ucd: str | None = None
    o_ucd: str | None = None
    o_unit: str | None = None
    o_calib_status: str | None = None
    pol_states: str | None = None
    pol_xel: int | None = None
    facility_name: str | None = None
    instrument_name: str | None = None
    proposal_id: str | None = None
    # ESO's extra columns (reference/domain.md 5.1)
    filter: str | None = None
    abmaglim: float | None = None
    snr: float | None = None
    strehl: float | None = None
    n_obs: int | None = None
    multi_ob: str | None = None
    obstech: str | None = None
    p3orig: str | None = None
    # the observatory's own keys
    dp_cat: str | None = None
    dp_type: str | None = None
    dp_tech: str | None = None
    pro_catg: str | None = None
    prodcatg: str | None = None
    ob_id: int | None = None
    tpl_id: str | None = None
    tpl_start: datetime | None = None
    tpl_expno: int | None = None
    tpl_nexp: int | None = None
    origfile: str | None = None
    release_date: datetime | None = None
    rights: Rights = "public"
    progenitors: tuple[str, ...] = ()
    setup: dict[str, Any] = field(default_factory=dict)
    header: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.dataproduct_type is not None and self.dataproduct_type not in DATAPRODUCT_TYPES:
            raise ValueError(f"{self.file_id}: {self.dataproduct_type!r} is no ObsCore dataproduct_type")
        if self.calib_level not in CALIB_LEVELS:
            raise ValueError(f"{self.file_id}: calib_level {self.calib_level} is not 0 to 4")
        if (self.s_ra is None) != (self.s_dec is None):
            raise ValueError(f"{self.file_id}: s_ra without s_dec, or the reverse")
        if self.s_ra is not None and self.s_dec is not None and not (0 <= self.s_ra < 360 and -90 <= self.s_dec <= 90):
            raise ValueError(f"{self.file_id}: no position on the sky: {self.s_ra}, {self.s_dec}")
        for low, high in (("t_min", "t_max"), ("em_min", "em_max")):
            a, b = getattr(self, low), getattr(self, high)
            if a is not None and b is not None and not a <= b:
                raise ValueError(f"{self.file_id}: {low} {a} is above {high} {b}")


@dataclass(frozen=True, slots=True)
class StoredFile:
    """The bytes of one version of a file, as the store took them; source: where they were offered."""

    object_key: str
    size_bytes: int
    sha256: str
    md5: str
    media_type: str
    file_name: str
    source: str
