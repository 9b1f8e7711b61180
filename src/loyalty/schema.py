"""Every table of the house, so that migrations and tests see them all."""

from typing import Final

from loyalty.access import models as access
from loyalty.activities import models as activities
from loyalty.adjustments import models as adjustments
from loyalty.books import models as books
from loyalty.core import idempotency
from loyalty.core.db import Row
from loyalty.earning import models as earning
from loyalty.jobs import models as jobs
from loyalty.members import models as members
from loyalty.merges import models as merges
from loyalty.orders import models as orders
from loyalty.outbox import models as outbox
from loyalty.points import models as points
from loyalty.programs import models as programs
from loyalty.quotes import models as quotes
from loyalty.redemptions import models as redemptions
from loyalty.referrals import models as referrals
from loyalty.rewards import models as rewards
from loyalty.simulations import models as simulations
from loyalty.tenders import models as tenders
from loyalty.transfers import models as transfers

ROOMS = (
    access,
    activities,
    adjustments,
    books,
    earning,
    idempotency,
    jobs,
    members,
    merges,
    orders,
    outbox,
    points,
    programs,
    quotes,
    redemptions,
    referrals,
    rewards,
    simulations,
    tenders,
    transfers,
)
METADATA = Row.metadata

BY_MONTH: Final = ("entries", "events")
"""Tables that may be divided by month: rows are only added, nothing refers to them, and locks see to their order."""
