from dataclasses import dataclass

from loyalty.core.errors import ValidationFailed


@dataclass(eq=False, kw_only=True)
class ImportRefused(ValidationFailed):
    """Some records cannot be imported; none of the batch was."""
