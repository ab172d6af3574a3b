"""How the keys of a source that lists what owners have go together: each rule needs an `owner/*` to be a rule of."""

from pydantic import ValidationInfo

from ledger_pipeline.core.owners import is_owner_ref, owner_of


def with_an_owner(value: bool, info: ValidationInfo) -> bool:
    """A rule of owners as it is. Raises ValueError where `source_refs` has none."""
    if not any(map(is_owner_ref, info.data.get("source_refs", ()))):
        raise ValueError("a rule for owner/* in source_refs, and none is there")
    return value


def of_an_owner(name: str, info: ValidationInfo) -> str:
    """The name of a source_scope as it is. Raises ValueError where it is of no owner in `source_refs`."""
    owners = {owner_of(source_ref) for source_ref in info.data.get("source_refs", ()) if is_owner_ref(source_ref)}
    if owner_of(name) not in owners:
        raise ValueError(f"one of what {', '.join(f'{owner}/*' for owner in sorted(owners)) or 'owner/*'} stands for")
    return name


def not_named(names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
    """Names as they are. Raises ValueError where `source_refs` has one of them by its name."""
    named = {source_ref.casefold() for source_ref in info.data.get("source_refs", ())}
    for name in names:
        if name.casefold() in named:
            raise ValueError(f"{name} is in source_refs by its name: take it out of one of the two")
    return names
