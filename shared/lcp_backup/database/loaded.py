"""What a load of a dump found and did."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Loaded:
    """What was loaded."""

    tables: tuple[str, ...]
    statements: int
    rows: int
    """As the server said of each statement; compared with what is there, where that is sure."""
    left_out: tuple[str, ...]
    """Heads of statements that need rights a managed server does not give, each once."""
    definers: tuple[str, ...] = ()
    """Who owned stored code in the dump, such as `view names: root@localhost`."""
    disabled: tuple[str, ...] = ()
    """Events that come back disabled, because somebody uploaded them."""
    left_behind: tuple[str, ...] = ()
    """Schemas of this restore that could not be dropped."""
    rows_as_data: bool = True
    """Whether the server takes rows as data."""
    rows_as_statements: int = 0
    """How many of the rows travelled as statements."""
    rows_of: Mapping[str, int] = field(default_factory=dict)
    """Rows by table, of those tables in which as many have to be."""
    scripts: tuple[str, ...] = ()
    """The scripts that were run, each with how many rows it changed."""
    seal: str = ""
    """By what the journal knows this load, and no other one of the same dump, as whole."""
