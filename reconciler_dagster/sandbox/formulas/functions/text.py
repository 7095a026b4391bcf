"""Text and regular expressions. FIND absent is 0, SEARCH absent is blank (Airtable facts §9)."""

import re
import urllib.parse
from functools import lru_cache

from reconciler_dagster.sandbox.formulas.functions.registry import function
from reconciler_dagster.sandbox.formulas.values import (
    MAX_TEXT,
    FormulaError,
    Value,
    integer,
    number,
    text,
)


def _limited(result: str) -> str:
    if len(result) > MAX_TEXT:
        raise FormulaError
    return result


@function("CONCATENATE", 1, None, "text")
def _concatenate(*arguments: Value) -> str:
    return _limited("".join(text(argument) for argument in arguments))


@function("ENCODE_URL_COMPONENT", 1, 1, "text")
def _encode(value: Value) -> str:
    return _limited(urllib.parse.quote(text(value), safe="!'()*~", errors="replace"))


@function("EXACT", 2, 2, "truth")
def _exact(left: Value, right: Value) -> bool:
    return text(left) == text(right)


@function("FIND", 2, 3, "number")
def _find(sought: Value, within: Value, start: Value = 1) -> float:
    return float(text(within).find(text(sought), max(integer(start) - 1, 0)) + 1)


@function("SEARCH", 2, 3, "number")
def _search(sought: Value, within: Value, start: Value = 1) -> float | None:
    found = text(within).lower().find(text(sought).lower(), max(integer(start) - 1, 0))
    return float(found + 1) if found >= 0 else None


def _count(value: Value) -> int:
    count = integer(value)
    if count < 0:
        raise FormulaError
    return count


@function("LEFT", 1, 2, "text")
def _left(value: Value, count: Value = 1) -> str:
    return text(value)[: _count(count)]


@function("RIGHT", 1, 2, "text")
def _right(value: Value, count: Value = 1) -> str:
    written, length = text(value), _count(count)
    return written[-length:] if length else ""


@function("MID", 3, 3, "text")
def _mid(value: Value, start: Value, count: Value) -> str:
    first = integer(start) - 1
    if first < 0:
        raise FormulaError
    return text(value)[first : first + _count(count)]


@function("LEN", 1, 1, "number")
def _len(value: Value) -> float:
    return float(len(text(value)))


@function("LOWER", 1, 1, "text")
def _lower(value: Value) -> str:
    return text(value).lower()


@function("UPPER", 1, 1, "text")
def _upper(value: Value) -> str:
    return text(value).upper()


@function("TRIM", 1, 1, "text")
def _trim(value: Value) -> str:
    return text(value).strip()


@function("T", 1, 1, "text")
def _t(value: Value) -> str | None:
    return value if isinstance(value, str) else None


@function("REPLACE", 4, 4, "text")
def _replace(value: Value, start: Value, count: Value, new: Value) -> str:
    written, first = text(value), integer(start) - 1
    if first < 0:
        raise FormulaError
    if first >= len(written):  # nothing stands there that could be replaced
        return written
    return _limited(written[:first] + text(new) + written[first + _count(count) :])


@function("REPT", 2, 2, "text")
def _rept(value: Value, times: Value) -> str:
    written, count = text(value), _count(times)
    if len(written) * count > MAX_TEXT:
        raise FormulaError
    return written * count


@function("SUBSTITUTE", 3, 4, "text")
def _substitute(value: Value, old: Value, new: Value, index: Value = None) -> str:
    written, sought, put = text(value), text(old), text(new)
    if not sought:
        return written
    if index is None:
        if written.count(sought) * len(put) > MAX_TEXT:
            raise FormulaError
        return _limited(written.replace(sought, put))
    parts, nth = written.split(sought), _count(index)
    if not 1 <= nth < len(parts):
        return written
    return _limited(sought.join(parts[:nth]) + put + sought.join(parts[nth:]))


@function("VALUE", 1, 1, "number")
def _value(value: Value) -> float:
    if not isinstance(value, str):
        return number(value)
    digits = re.search(r"-?\d[\d,]*(\.\d+)?|-?\.\d+", value)
    if digits is None:
        raise FormulaError
    return float(digits[0].replace(",", ""))


@lru_cache(maxsize=256)
def _pattern(pattern: str) -> re.Pattern[str]:
    # Airtable runs RE2, which has neither look-around nor back references.
    if re.search(r"\(\?[=!<(]|\\[1-9]", pattern.replace("\\\\", "")):
        raise FormulaError
    try:
        return re.compile(pattern)
    except (re.error, OverflowError, RecursionError, ValueError):
        raise FormulaError from None


@function("REGEX_MATCH", 2, 2, "truth")
def _regex_match(value: Value, pattern: Value) -> bool:
    return _pattern(text(pattern)).search(text(value)) is not None


@function("REGEX_EXTRACT", 2, 2, "text")
def _regex_extract(value: Value, pattern: Value) -> str | None:
    found = _pattern(text(pattern)).search(text(value))
    if found is None:
        raise FormulaError
    return found[1] if found.re.groups else found[0]


@function("REGEX_REPLACE", 3, 3, "text")
def _regex_replace(value: Value, pattern: Value, new: Value) -> str:
    template = text(new)

    def expanded(found: re.Match[str]) -> str:
        def group(reference: re.Match[str]) -> str:
            index = int(reference[1])
            return (found[index] or "") if index <= found.re.groups else ""

        return re.sub(r"\$(\d)", group, template)

    return _limited(_pattern(text(pattern)).sub(expanded, text(value)))
