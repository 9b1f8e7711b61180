"""Say why there is no embedded server."""


class EmbeddedRefused(Exception):
    """There is no embedded server to be had; the message is a sentence that names the remedy."""
