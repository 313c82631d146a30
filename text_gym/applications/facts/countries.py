"""Facts about countries, from the data files of `countryinfo` (MIT).

The package is never imported. Its data is of about 2014 to 2019; where that is out of date or
knows one way to say a thing, `_ALSO` has more.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from text_gym.applications.facts import names
from text_gym.applications.facts.fact import Fact
from text_gym.applications.installed_data import read_installed

_SHA256 = "a12409366764f5eaa9ee915c7e7f4a07c6e977f140f8edb91dd1931b81542344"
_SMALLEST = 300_000
"""People; of smaller countries and territories the data has little."""
_LEFT_OUT = frozenset(["CS", "EH", "HK", "IL", "MO", "PS"])
"""By ISO 3166 code: no longer a country, or one whose capital is disputed or is none."""
_SOUTH_AMERICA = frozenset(["AR", "BO", "BR", "CL", "CO", "EC", "GY", "PE", "PY", "SR", "UY", "VE"])
_ON_TWO_CONTINENTS = frozenset(["AM", "AZ", "CY", "GE", "KZ", "RU", "TR"])

_WITH_ARTICLE = re.compile(
    "^(?:The |(?=.*(?:Comoros|Emirates|Islands|Kingdom|Maldives|Netherlands|Philippines|Republic"
    "|States)))"
)

_ALSO: Mapping[str, tuple[str, ...]] = {
    "AF": ("Kaboul",),
    "BD": ("Dacca",),
    "BI": ("Gitega",),
    "BO": ("La Paz",),
    "CH": ("Berne",),
    "CI": ("Abidjan",),
    "IN": ("Delhi",),
    "IR": ("Teheran",),
    "KZ": ("Astana",),
    "LK": ("Kotte", "Sri Jayawardenepura Kotte"),
    "MD": ("Kishinev",),
    "MM": ("Nay Pyi Taw",),
    "MN": ("Ulan Bator",),
    "SZ": ("Mbabane",),
    "UA": ("Kiev",),
    "US": ("Washington",),
    "ZA": ("Cape Town", "Bloemfontein"),
}
"""Other names of a capital, or other cities that are called so."""


def country_facts() -> Iterator[Fact]:
    """Yields what can be asked about each country: capital, continent, currency, language.

    Raises:
        ModuleNotFoundError: If `countryinfo` is not installed.
        ValueError: If it is not the version that was read here.
    """
    for country in _countries():
        name = country["name"]
        of = _WITH_ARTICLE.sub("the ", name)
        capitals = (country["capital"], *_ALSO.get(_code(country), ()))
        where = _continents(country)
        paid_in = _currencies(country)
        spoken = tuple(names.languages(country["languages"]))
        yield Fact("capital", name, f"What is the capital of {of}?", capitals)
        yield Fact(
            "country", name, f"Which country has the capital {capitals[0]}?", _names(country)
        )
        yield Fact("continent", name, f"On which continent is {of}?", where)
        yield Fact("currency", name, f"What is the currency of {of}?", paid_in)
        yield Fact("language", name, f"What is an official language of {of}?", spoken)


def _countries() -> list[dict[str, Any]]:
    files = read_installed("countryinfo", "data/*.json", sha256=_SHA256, extra="facts")
    countries = map(json.loads, files.values())
    return [one for one in countries if _is_asked_for(one)]


def _is_asked_for(country: Mapping[str, Any]) -> bool:
    return (
        (country.get("population") or 0) >= _SMALLEST
        and bool(country.get("capital"))
        and _code(country) not in _LEFT_OUT
    )


def _code(country: Mapping[str, Any]) -> str:
    return str(country["ISO"]["alpha2"])


def _names(country: Mapping[str, Any]) -> tuple[str, ...]:
    other = [name for name in country["altSpellings"] if len(name) > 3]
    return (country["name"], *other)


def _continents(country: Mapping[str, Any]) -> tuple[str, ...]:
    region, code = country["region"], _code(country)
    if region != "Americas":
        return ("Europe", "Asia") if code in _ON_TWO_CONTINENTS else (region,)
    own = ("South America",) if code in _SOUTH_AMERICA else ("North America", "Central America")
    return (*own, "America", "Americas")


def _currencies(country: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the names of its currencies, and each after the country's name or adjective."""
    plain = names.currencies(country["currencies"])
    own = [country["name"], *(country.get("demonym") or "").split(",")]
    return (*plain, *(f"{adjective} {name}" for name in plain for adjective in own if adjective))
