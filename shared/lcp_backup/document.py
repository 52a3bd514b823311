"""What is stored as JSON, and how it is read.

Every stored document has a field `format`, the number of its own type's format. It grows only when
an older version could not read the document; a number that is not known is refused.
docs/format.md has them all.
"""

from pydantic import BaseModel, ConfigDict, ValidationError

from lcp_backup.errors import UnknownFormat
from lcp_backup.invalid import first_problem


class Document(BaseModel):
    """Base of what is stored: immutable, and tolerant of fields that a later version added."""

    model_config = ConfigDict(frozen=True, extra="ignore")


def read_document[T: Document](model: type[T], body: bytes, what: str) -> T:
    """Reads a stored document; raises UnknownFormat, which says what was found, when it cannot."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        where, message, _ = first_problem(error)
        known = model.model_fields["format"].default
        raise UnknownFormat(
            f"this version of the service reads {what} format {known} and cannot read this one:"
            f" {where or 'document'}: {message}"
        ) from None
