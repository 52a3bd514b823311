"""All attacks by SQL, one list."""

from typing import Final

from tests.integration.attacks.corpus.bodies import BODIES
from tests.integration.attacks.corpus.lexer import LEXER
from tests.integration.attacks.corpus.rows import ROWS
from tests.integration.attacks.corpus.statements import STATEMENTS

ATTACKS: Final = [*LEXER, *STATEMENTS, *BODIES, *ROWS]
