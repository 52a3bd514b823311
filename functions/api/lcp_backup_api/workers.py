"""How many functions a run may be done by, as far as the API can tell."""

from lcp_backup.errors import InvalidRequest
from lcp_backup.settings import Settings


def check_workers(settings: Settings, wanted: object) -> None:
    """Raises InvalidRequest when several are asked for, and the stack has no state machine."""
    if isinstance(wanted, int) and wanted > 1 and settings.backup_workers == 1:
        raise InvalidRequest(
            f"workers: {wanted} are asked for, and this environment is deployed with Workers=1:"
            " leave workers out, or deploy more"
        )
