"""YAML as configuration is written in it: what JSON could say as well, and nothing that is other than it looks.

Of plain words only `true`, `false`, `null` and whole numbers are no text, much as in YAML 1.2; to version 1.1 `no` is
false and `14:00` is 840. Keys that stand twice, anchors, aliases and tags are refused.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

import yaml

from loyalty.core.errors import Fault, ValidationFailed

_MOST_DEPTH: Final = 32
_MOST_PARTS: Final = 50_000
_LONGEST_INTEGER: Final = 20
# The C library where there is one. Only its parser: its composer calls itself for each level, and dies of too many.
_LOADER: Final = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_DUMPER: Final = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_WORDS: Final = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("null", "Null", "NULL", "~", ""), None),
}
_INTEGER: Final = re.compile(rf"-?(0|[1-9][0-9]{{0,{_LONGEST_INTEGER - 1}}})")


def read(content: bytes) -> Any:
    """Read one document of UTF-8. Raises ValidationFailed, which says the line."""
    try:
        events = _content(yaml.parse(content.decode(), Loader=_LOADER))
        document = _value(first, events, depth=0) if (first := next(events, None)) is not None else None
        if (more := next(events, None)) is not None:
            raise _refused(more, "There should be one document")
    except UnicodeDecodeError as error:
        raise _unreadable(f"Byte {error.start + 1} is no UTF-8") from error
    except yaml.MarkedYAMLError as error:
        raise _refused(error, error.problem or "This cannot be read") from error
    except yaml.YAMLError as error:
        raise _unreadable("There is a character that YAML does not allow") from error
    return document


def write(value: Any) -> str:
    """Write what JSON could say, in the order given."""
    return str(yaml.dump(value, Dumper=_DUMPER, sort_keys=False, allow_unicode=True, width=120))


def _content(events: Iterable[yaml.Event]) -> Iterator[Any]:
    """Yield what a document is made of; not without end: while it is read, nobody else is answered."""
    made = (event for event in events if isinstance(event, yaml.NodeEvent | yaml.CollectionEndEvent))
    for count, event in enumerate(made):
        if count > _MOST_PARTS:
            raise _refused(event, f"There should be no more than {_MOST_PARTS} keys and values")
        yield event


def _value(event: Any, events: Iterator[Any], *, depth: int) -> Any:
    if event.anchor is not None:
        raise _refused(event, "There should be no anchors and aliases")
    if event.tag is not None:
        raise _refused(event, "There should be no tags")
    if depth > _MOST_DEPTH:
        raise _refused(event, f"There should be no more than {_MOST_DEPTH} levels")
    if isinstance(event, yaml.ScalarEvent):
        return _scalar(event)
    inner = iter(lambda: _inner(events), None)
    if isinstance(event, yaml.SequenceStartEvent):
        return [_value(item, events, depth=depth + 1) for item in inner]
    found: dict[str, Any] = {}
    for key in inner:
        name = _value(key, events, depth=depth + 1)
        if not isinstance(name, str):
            raise _refused(key, "A key should be text")
        if name in found:
            raise _refused(key, "This key stands here twice")
        found[name] = _value(next(events), events, depth=depth + 1)
    return found


def _inner(events: Iterator[Any]) -> Any:
    event = next(events)
    return None if isinstance(event, yaml.CollectionEndEvent) else event


def _scalar(event: Any) -> Any:
    is_plain, text = event.implicit[0], event.value
    if is_plain and text in _WORDS:
        return _WORDS[text]
    return int(text) if is_plain and _INTEGER.fullmatch(text) else text


def _refused(at: Any, sentence: str) -> ValidationFailed:
    mark = at.problem_mark if isinstance(at, yaml.MarkedYAMLError) else at.start_mark
    return _unreadable(f"Line {mark.line + 1}, column {mark.column + 1}: {sentence}" if mark else sentence)


def _unreadable(sentence: str) -> ValidationFailed:
    return ValidationFailed(errors=[Fault("", "yaml", sentence)])
