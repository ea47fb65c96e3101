"""The document of rules: whole, answered by checks in every part, and strict about its own mistakes."""

from pathlib import Path

import pytest
import yaml

from phase3.rules import conditions, values
from phase3.rules.checks import rules_answered
from phase3.rules.delivery import DELIVERY_RULES
from phase3.rules.model import SHIPPED, Rules, RulesError, load_rules
from phase3.rules.reserved import RESERVED
from tap.adql.words import RESERVED as ADQL_RESERVED
from tests.phase3.made import MAKERS
from tests.shared import shared_data


def test_the_shipped_rules_are_the_reference(rules: Rules) -> None:
    reference = shared_data("..", "reference", "phase3_keywords.yaml")
    assert SHIPPED.read_bytes() == reference.read_bytes()
    assert len(rules.checks) == 35
    assert set(rules.categories) == set(MAKERS)


def test_every_cross_check_is_answered(rules: Rules) -> None:
    assert {*rules_answered(), *DELIVERY_RULES} == set(rules.checks)


def test_every_allowed_value_and_every_condition_is_understood(rules: Rules) -> None:
    allowed = {name for name, rule in rules.keywords.items() if rule.allowed}
    assert allowed <= set(values.VALUES) | set(values.CHECKED)
    asked = {u.condition for r in rules.keywords.values() for u in r.use.values() if u.level == "conditional"}
    assert asked == {*conditions.DEMANDS, *conditions.UNDECIDED, *conditions.CHECKED}


def test_columns_may_not_be_called_by_any_word_that_adql_reserves() -> None:
    assert ADQL_RESERVED | {"DEC"} == RESERVED


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda d: d["keywords"]["RA"].update(type="float"), "keywords.RA.type: 'float' is not one of"),
        (lambda d: d["keywords"]["RA"]["use"]["SCIENCE.IMAGE"].update(level="must"), "SCIENCE.IMAGE.level: 'must'"),
        (lambda d: d["keywords"]["RA"]["use"]["SCIENCE.IMAGE"].update(hdu="first"), "SCIENCE.IMAGE.hdu: 'first'"),
        (
            lambda d: d["keywords"]["RA"]["use"].update(IMAGE={"level": "required", "hdu": "all"}),
            "'IMAGE' is not one of",
        ),
        (lambda d: d["keywords"]["EQUINOX"]["use"]["SCIENCE.IMAGE"].pop("condition"), "condition: missing"),
        (lambda d: d["keywords"]["EQUINOX"]["use"]["SCIENCE.IMAGE"].update(footnote=[999]), "footnote: 999"),
        (lambda d: d["keywords"]["RA"].pop("meaning"), "keywords.RA.meaning: missing"),
        (lambda d: d["keywords"]["RA"].pop("use"), "keywords.RA.use: missing"),
        (lambda d: d["checks"][3].update(severity="fatal"), "checks.F04.severity: 'fatal'"),
        (lambda d: d["checks"][3].update(applies_to=["SCIENCE.PICTURE"]), "checks.F04.applies_to: 'SCIENCE.PICTURE'"),
        (lambda d: d["categories"].append(d["categories"][0]), "categories.SCIENCE.IMAGE: twice"),
        (lambda d: d["checks"][0].pop("id"), "checks[0]: has no id"),
        (lambda d: d.pop("keywords"), "keywords: missing, or not a dict"),
    ],
)
def test_a_mistake_in_the_rules_is_told_with_its_place(tmp_path: Path, spoil, told: str) -> None:  # type: ignore[no-untyped-def]
    document = yaml.load(SHIPPED.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    spoil(document)
    spoilt = tmp_path / "rules.yaml"
    spoilt.write_text(yaml.safe_dump(document), encoding="utf-8")
    with pytest.raises(RulesError) as caught:
        load_rules(spoilt)
    assert told in str(caught.value)


def test_rules_that_are_no_yaml_are_told(tmp_path: Path) -> None:
    broken = tmp_path / "rules.yaml"
    broken.write_text("keywords: [unclosed", encoding="utf-8")
    with pytest.raises(RulesError, match="cannot be read"):
        load_rules(broken)
