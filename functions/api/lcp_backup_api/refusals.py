"""Why a caller is not let in, or may not do something."""

from lcp_backup.errors import BackupError


class Unauthenticated(BackupError):
    """The credentials are missing or wrong. One sentence for all cases: it tells nobody which."""

    code = "unauthenticated"
    sentence = "credentials are missing or wrong"
    message_is_public = True

    def __init__(self) -> None:
        super().__init__(
            "credentials are missing or wrong: use basic authentication, or"
            " 'dxpcloud-authorization: Bearer' with an access token of the user pool"
        )


class LoginRefused(BackupError):
    """The user pool took no name and password; says why, for the log and never for the caller."""

    code = "login-refused"
    sentence = "the login was refused"


class Forbidden(BackupError):
    """The caller is known and may not do this."""

    code = "forbidden"
    sentence = "this caller may not do this"
    message_is_public = True


class NotAMember(Forbidden):
    """The user pool knows the caller, who is in none of the groups that may use this service."""

    code = "not-a-member"


class FromAnotherSite(Forbidden):
    """A browser sent a call that changes something, on behalf of a page of another site."""

    code = "from-another-site"


class WrongAnswer(BackupError):
    """A challenge was not answered rightly; it may be answered again."""

    code = "wrong-answer"
    sentence = "the code is not the right one"
    message_is_public = True

    def __init__(self) -> None:
        super().__init__("the code is not the right one, or not any more")


class SignInExpired(BackupError):
    """The user pool does not know the session of a challenge, or not any more."""

    code = "sign-in-expired"
    sentence = "this sign-in is over"
    message_is_public = True

    def __init__(self) -> None:
        super().__init__("this sign-in is over: it took too long, or was never begun")


class PasswordRefused(BackupError):
    """The user pool does not take a new password; says what it wants, never the password."""

    code = "password-refused"
    sentence = "the user pool does not take this new password"
    message_is_public = True


class ChallengeUnsupported(Forbidden):
    """The user pool asks for something that cannot be asked through this service."""

    code = "challenge-unsupported"
