"""Say why there is no embedded server."""


class EmbeddedRefused(Exception):  # noqa: N818 -- a refusal, with a remedy, and no fault of the program
    """There is no embedded server to be had; the message is a sentence that names the remedy."""
