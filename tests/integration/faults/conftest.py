"""The servers and the road of the attacks: real dump programs, real jobs, a store in memory."""

from tests.integration.attacks.conftest import (
    flavour,
    in_memory,
    pytest_collection_modifyitems,
    road,
    roads,
    worlds,
)

__all__ = ["flavour", "in_memory", "pytest_collection_modifyitems", "road", "roads", "worlds"]
