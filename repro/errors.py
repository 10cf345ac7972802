"""The errors that a user can cause, each with the exit status it leads to."""


class ReproError(Exception):
    """Wrong use or bad input: the message says what was wrong, where, and what to do."""

    exit_status = 2


class Busy(ReproError):
    """Another process is at the same work: nothing is wrong with it."""


class GateFailed(ReproError):
    """A check ran and its answer is no: a regression, a missing metric, a damaged file."""

    exit_status = 1


class NotPossibleHere(ReproError):
    """The request is sound, but this machine lacks what it needs."""

    exit_status = 3
