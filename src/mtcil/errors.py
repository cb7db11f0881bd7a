"""The one error type whose message is meant for the person who typed the command."""


class UserError(Exception):
    """A person's mistake: the message says what, where and what to do. No traceback is shown."""
