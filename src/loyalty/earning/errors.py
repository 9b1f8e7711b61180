from loyalty.core.errors import Conflict, NotFound


class EarningRuleNotFound(NotFound):
    """There is no such earning rule in this program."""


class RuleVersionExists(Conflict):
    """A version of this rule begins at that instant already."""


class RuleEndsBeforeItBegins(Conflict):
    """A rule version ends after it begins."""


class RuleBeginsInThePast(Conflict):
    """A rule version cannot begin before now: orders already counted keep their version."""


class EarningRuleHasNoDraft(Conflict):
    """This rule has no draft that could begin."""


class EarningRuleNotInForce(Conflict):
    """This rule is not in force at that instant, so it cannot end then."""


class RuleVersionInTheWay(Conflict):
    """A version or end of this rule that is set for later stands against this; what has a date is not taken back."""
