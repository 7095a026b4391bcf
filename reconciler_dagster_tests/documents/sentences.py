"""The sentences of errors as they stand in the source, and whether they say what to do."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from reconciler_dagster_tests.documents.rooms import PACKAGE

# What an operator reads as an error: the classes whose first argument is the sentence.
SPOKEN = {
    *("ConfigurationError", "DefinitionError", "NotAdopted", "Unfit", "Unreadable"),
    *("ClickException", "UsageError"),
}
_VERBS = """
    add adopt allow approve ask call change check choose clear connect copy correct count
    cut end enter expected free give grant have install keep launch lay leave let look make
    map mend migrate move name need needs open point put raise read remove rename replace
    restore round run save say see send set shorten start stop swap take tell try type unset
    use wait write
"""
# At the start of a sentence or of a part of one, or after a word that joins two.
_REMEDY = re.compile(
    rf"(?:^|[:;,.(] |\b(?:and|or|then|first|else|please|must|to) )(?:{'|'.join(_VERBS.split())})\b"
    r"|`(?:reconciler|dagster)|\b(?:was|were) expected",
    re.IGNORECASE,
)


def says_what_to_do(sentence: str) -> bool:
    """Whether a part of the sentence begins with what a person can do, or names a command."""
    return bool(_REMEDY.search(sentence))


def spoken(source: str) -> Iterator[str]:
    """The sentences in a source, with … for what is put in. Those of one or two words, and those
    that are made elsewhere, are left out.
    """
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        sentence = " ".join(_text(node.args[0]).split())
        if name in SPOKEN and len(re.findall(r"[a-z]{2,}", sentence)) > 2:
            yield sentence


def all_spoken() -> dict[str, str]:
    """Every sentence of the package, with the file it stands in; not the sandbox's, which speaks as
    Airtable does.
    """
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        inside = path.relative_to(PACKAGE)
        if inside.parts[0] not in ("sandbox", "vendor"):
            found |= {sentence: str(inside) for sentence in spoken(path.read_text())}
    return found


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(v) if isinstance(v, ast.Constant) else "…" for v in node.values)
    return "…"
