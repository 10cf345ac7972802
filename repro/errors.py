"""The errors that a user can cause, each with the exit status it leads to."""


class ReproError(Exception):
    """Wrong use or bad input: the message says what was wrong, where, and what to do."""

    exit_status = 2


class Refused(ReproError):
    """What is there is of another process, or made another way: it stays as it is, and sound."""


class GateFailed(ReproError):
    """A check ran and its answer is no: a regression, a missing metric, a damaged file."""

    exit_status = 1


class NotPossibleHere(ReproError):
    """The request is sound, but this machine lacks what it needs."""

    exit_status = 3
