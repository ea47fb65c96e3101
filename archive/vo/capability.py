"""What a service can do, as values: declared by each room, told by VOSI (archive.vo.vosi) and by the registry.

URLs are not here: an Interface has a path, and the document that tells it is written for a base URL at read time.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

from archive.vo.descriptors import Input
from archive.vo.formats import FORMATS
from archive.vo.markup import Markup, element

Kind = Literal["vs:ParamHTTP", "vr:WebBrowser", "vr:WebService", "vg:OAIHTTP"]

TAP = "ivo://ivoa.net/std/TAP"
TAPREGEXT = "ivo://ivoa.net/std/TAPRegExt"
VOSI_CAPABILITIES = "ivo://ivoa.net/std/VOSI#capabilities"
VOSI_AVAILABILITY = "ivo://ivoa.net/std/VOSI#availability"
VOSI_TABLES = "ivo://ivoa.net/std/VOSI#tables-1.1"
DALI_EXAMPLES = "ivo://ivoa.net/std/DALI#examples"
BASIC = "ivo://ivoa.net/sso#BasicAA"
OBSCORE = "ivo://ivoa.net/std/ObsCore#core-1.1"

FEATURES_GEO = f"{TAPREGEXT}#features-adqlgeo"
FEATURES_UDF = f"{TAPREGEXT}#features-udf"


@dataclass(frozen=True, slots=True)
class Interface:
    """One way in (VOResource 1.1 §3.2).

    path: from the archive's base URL, "/tap". use: "base" if children hang below it, "full" if it is the URL itself.
    security_methods: standardIDs; None among them is anonymous access, which an empty tuple means too. inputs: its
    parameters, told in the registry's records.
    """

    path: str
    kind: Kind = "vs:ParamHTTP"
    role: str | None = "std"
    version: str | None = None
    use: Literal["base", "full", "dir", "post"] = "full"
    security_methods: tuple[str | None, ...] = ()
    query_types: tuple[Literal["GET", "POST"], ...] = ()
    result_type: str | None = None
    inputs: tuple[Input, ...] = ()
    test_query: str | None = None


class Extension(Protocol):
    """What a kind of service says beyond its interfaces: TAPRegExt, SimpleDALRegExt."""

    @property
    def xsi_type(self) -> str: ...

    @property
    def namespace(self) -> tuple[str, str]:
        """Prefix and namespace of xsi_type."""

    def markup(self) -> Iterable[Markup]:
        """The elements after the interfaces, in the order of the schema."""


@dataclass(frozen=True, slots=True)
class Capability:
    """One capability (VOResource 1.1 §3.1). standard_id: IVOID; None for a service of no standard."""

    standard_id: str | None
    interfaces: tuple[Interface, ...]
    description: str | None = None
    extension: Extension | None = None


@dataclass(frozen=True, slots=True)
class LanguageFeature:
    """form: "CIRCLE", or a user-defined function's signature, `name(x DOUBLE) -> DOUBLE`."""

    form: str
    description: str | None = None


@dataclass(frozen=True, slots=True)
class FeatureList:
    """Features of one type, such as FEATURES_GEO."""

    type: str
    features: tuple[LanguageFeature, ...]


@dataclass(frozen=True, slots=True)
class Language:
    """A query language. versions: pairs of version and IVOID (or None)."""

    name: str
    versions: tuple[tuple[str, str | None], ...]
    description: str | None = None
    features: tuple[FeatureList, ...] = ()


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """media_type and the short names that RESPONSEFORMAT takes for it."""

    media_type: str
    aliases: tuple[str, ...] = ()
    ivo_id: str | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """What applies when nothing is asked, and the most that can be asked."""

    default: int | None = None
    hard: int | None = None


VOTABLE_IDS = {
    "application/x-votable+xml": f"{TAPREGEXT}#output-votable-binary2",
    "application/x-votable+xml;serialization=tabledata": f"{TAPREGEXT}#output-votable-td",
}
OUTPUT_FORMATS = tuple(
    OutputFormat(form.media_type, form.short_names, VOTABLE_IDS.get(form.media_type)) for form in FORMATS
)
UPLOAD_METHODS = {
    "inline": f"{TAPREGEXT}#upload-inline",
    "http": f"{TAPREGEXT}#upload-http",
    "https": f"{TAPREGEXT}#upload-https",
}


@dataclass(frozen=True, slots=True)
class TableAccess:
    """What a TAP service says of itself (TAPRegExt 1.0 §2, TAP-41).

    data_models: pairs of IVOID and name. upload_methods: of UPLOAD_METHODS. retention_s, execution_s: seconds;
    output_rows: rows; upload_rows: rows, upload_bytes: bytes. The schema has room for one default and one hard limit of
    uploads, each in a unit of its own: with both given, rows are told as the first and bytes as the second.
    """

    languages: tuple[Language, ...]
    data_models: tuple[tuple[str, str], ...] = ((OBSCORE, "ObsCore-1.1"),)
    output_formats: tuple[OutputFormat, ...] = OUTPUT_FORMATS
    upload_methods: tuple[Literal["inline", "http", "https"], ...] = ()
    retention_s: Limit | None = None
    execution_s: Limit | None = None
    output_rows: Limit | None = None
    upload_rows: Limit | None = None
    upload_bytes: Limit | None = None

    @property
    def xsi_type(self) -> str:
        return "tr:TableAccess"

    @property
    def namespace(self) -> tuple[str, str]:
        return "tr", "http://www.ivoa.net/xml/TAPRegExt/v1.0"

    def markup(self) -> Iterable[Markup]:
        for ivo_id, name in self.data_models:
            yield element("dataModel", {"ivo-id": ivo_id}, name)
        yield from map(_language, self.languages)
        for form in self.output_formats:
            aliases = [element("alias", None, alias) for alias in form.aliases]
            yield element("outputFormat", {"ivo-id": form.ivo_id}, element("mime", None, form.media_type), aliases)
        for method in self.upload_methods:
            yield element("uploadMethod", {"ivo-id": UPLOAD_METHODS[method]})
        for name, limit, unit in (
            ("retentionPeriod", self.retention_s, None),
            ("executionDuration", self.execution_s, None),
            ("outputLimit", self.output_rows, "row"),
        ):
            if limit is not None:
                yield _limit(name, limit, unit)
        if self.upload_rows and self.upload_bytes:
            told = (("default", "row", self.upload_rows.hard), ("hard", "byte", self.upload_bytes.hard))
            limits = [element(which, {"unit": unit}, str(value)) for which, unit, value in told]
            yield element("uploadLimit", None, limits)
        elif upload := self.upload_rows or self.upload_bytes:
            yield _limit("uploadLimit", upload, "row" if self.upload_rows else "byte")


def _limit(name: str, limit: Limit, unit: str | None) -> Markup:
    values = (("default", limit.default), ("hard", limit.hard))
    return element(
        name, None, [element(which, {"unit": unit}, str(value)) for which, value in values if value is not None]
    )


def _language(language: Language) -> Markup:
    return element(
        "language",
        None,
        element("name", None, language.name),
        [element("version", {"ivo-id": ivo_id}, version) for version, ivo_id in language.versions],
        element("description", None, language.description) if language.description else None,
        [_features(features) for features in in_both_cases(language.features)],
    )


def in_both_cases(lists: Iterable[FeatureList]) -> Iterable[FeatureList]:
    """Geometry and user-defined functions a second time under the lower-case IVOID.

    IVOIDs compare without case, but STILTS 3.4.7 and TOPCAT 4.8.7 know only the mixed-case one, and others only the
    lower-case one that ADQL 2.1 §4.1 prints (ADQL-30).
    """
    for features in lists:
        yield features
        if features.type in (FEATURES_GEO, FEATURES_UDF):
            yield FeatureList(features.type.lower(), features.features)


def _features(features: FeatureList) -> Markup:
    return element("languageFeatures", {"type": features.type}, [_feature(feature) for feature in features.features])


def _feature(feature: LanguageFeature) -> Markup:
    description = element("description", None, feature.description) if feature.description else None
    return element("feature", None, element("form", None, feature.form), description)


def vosi_capabilities(base: str, *, tables: str | None = None, examples: str | None = None) -> tuple[Capability, ...]:
    """The capabilities that a service with VOSI endpoints under the path `base` declares beside its own (TAP-43)."""
    declared = [
        Capability(VOSI_CAPABILITIES, (Interface(f"{base}/capabilities"),)),
        Capability(VOSI_AVAILABILITY, (Interface(f"{base}/availability"),)),
    ]
    if tables is not None:
        declared.append(Capability(VOSI_TABLES, (Interface(tables, version="1.1"),)))
    if examples is not None:
        declared.append(Capability(DALI_EXAMPLES, (Interface(examples, kind="vr:WebBrowser", role=None),)))
    return tuple(declared)
