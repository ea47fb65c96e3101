"""Every check of one file, in order: which function answers which rule. Those of several files: delivery.py."""

from collections.abc import Callable, Iterable, Iterator

from phase3.rules import catalogues, common, footprints, form, images, spectra, visibilities
from phase3.rules.breach import Breach
from phase3.rules.columns import check_columns
from phase3.rules.matrix import check_matrix
from phase3.rules.product import Product

Check = Callable[[Product], Iterator[Breach]]

ALWAYS: tuple[tuple[str, Check], ...] = (
    ("F01", form.check_name), ("F02", form.check_bytes), ("F03", form.check_cards), ("F04", form.check_data),
    ("F05", form.check_hdus), ("F06", form.check_wcs_form),
)  # fmt: skip

SCIENCE: tuple[tuple[str, Check], ...] = (
    ("M01", common.identity), ("M02", common.several), ("M03", common.origins), ("M04", common.reference),
    ("M05", common.facility), ("B02", common.associations), ("T01", common.times), ("P01", common.position),
    ("I01", images.photometry), ("I02", images.survey_cameras), ("I03", images.roles), ("X01", images.flux_map),
    ("C01", images.cube), ("S01", spectra.same_target), ("S02", spectra.derived), ("S03", spectra.structure),
    ("S04", spectra.columns), ("S05", spectra.utypes), ("S06", spectra.samples), ("S07", spectra.flux_scale),
    ("V01", visibilities.visibility), ("K01", catalogues.catalogue_form), ("K02", catalogues.identifier),
    ("K03", catalogues.source_columns), ("K04", catalogues.values), ("K06", footprints.footprint),
)  # fmt: skip


def check_product(product: Product) -> Iterator[Breach]:
    """All breaches of one file, by itself."""
    for _, check in ALWAYS:
        yield from check(product)
    if product.prodcatg in product.rules.ancillaries:
        return  # of an ancillary file the standard asks its form and its category only
    if product.category is None and product.prodcatg not in product.rules.others:
        yield _no_category(product)
        return
    if product.category is not None:
        yield from check_matrix(product)
        yield from check_columns(product)
    for rule, check in SCIENCE:
        if product.rules.checks[rule].applies(product.category, product.prodcatg):
            yield from check(product)


def _no_category(product: Product) -> Breach:
    known = ", ".join(product.rules.category_ids())
    value = product.get("PRODCATG")
    present = product.has("PRODCATG")
    of = product.rules.keywords["PRODCATG"]
    what = (
        f"PRODCATG is {value!r}, which is no category." if present else "PRODCATG is missing: no rules can be chosen."
    )
    return product.table_breach(
        "value" if present else "required", of, product.primary, "PRODCATG", "error",
        "category_unknown" if present else "keyword_missing", what, f"{known}, or an ANCILLARY category",
        "write the category of the product, or name it with --category.",
    )  # fmt: skip


def rules_answered() -> Iterable[str]:
    """Ids of the rules that these checks answer."""
    return (rule for rule, _ in (*ALWAYS, *SCIENCE))
