"""Which columns, channels or arrays make up each modality, as a user names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from polyvae.model.presence import PRESENT
from polyvae.model.spec import Modality, Spec

Groups = dict[str, tuple[str, ...]]  # of each modality the names of its columns, channels or arrays
RESERVED = ("x", "y", "seen", "y_known")  # names with a meaning of their own in a batch
Asked = str | Sequence[str] | Mapping[str, str | Sequence[str]] | None


def groups_of(asked: Asked) -> Groups:
    """The names by modality of "flow=u+v,pressure=cp", of a mapping, or of a list whose names are modalities each.

    Raises ValueError for fewer than two modalities, a name that is none, and a column in two of them.
    """
    if asked is None:
        return {}
    if isinstance(asked, str):
        pairs = [part.partition("=") for part in asked.split(",")]
        asked = {name.strip(): (columns if equals else name).split("+") for name, equals, columns in pairs}
        if len(asked) < len(pairs):
            raise ValueError(f"modalities have a name each; got {','.join(name for name, _, _ in pairs)}")
    elif not isinstance(asked, Mapping):
        asked = {str(name): [str(name)] for name in asked}
    made = {
        str(name): tuple(str(each).strip() for each in ([columns] if isinstance(columns, str) else columns))
        for name, columns in asked.items()
    }
    if len(made) < 2:
        raise ValueError(f"modalities: two at least, as in u,v or flow=u+v,pressure=cp; got {', '.join(made)}")
    for name, columns in made.items():
        if name in RESERVED or name.endswith(PRESENT) or not name.isidentifier():
            how = f"name it, as in mass={name}" if columns == (name,) else "give it another"
            raise ValueError(
                f"modalities have names of letters, digits and underscores, not x, y, seen or NAME{PRESENT}, "
                f"which says in which rows NAME is there; got {name!r}, {how}"
            )
        if not columns or "" in columns:
            raise ValueError(f"modalities: {name} has no columns")
    every = [column for columns in made.values() for column in columns]
    if twice := [column for column in dict.fromkeys(every) if every.count(column) > 1]:
        raise ValueError(f"modalities: a column stands in one of them; got {twice[0]} in several")
    return made


def several(spec: Spec, values: Mapping[str, Spec]) -> Spec:
    """The spec of modalities with these specs, its y and what is beside that of `spec`."""
    modalities = tuple(Modality(name, each) for name, each in values.items())
    held = {name: getattr(spec, name) for name in ("classes", "y", "labels", "label", "beside")}
    return Spec(levels=None, modalities=modalities, **held)
