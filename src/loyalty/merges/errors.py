from loyalty.core.errors import NotFound


class MergeNotFound(NotFound):
    """There is no such merge in this program."""
