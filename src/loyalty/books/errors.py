from loyalty.core.errors import Invalid


class MonthsOutOfOrder(Invalid):
    """Name two months as YYYY-MM, the first not after the last, at most ten years apart."""
