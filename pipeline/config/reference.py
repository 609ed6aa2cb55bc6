"""Write the reference of every setting in Markdown, from the dataclasses themselves.

    print(config_reference())  # what `lampworks config --reference` prints, and the documentation site shows

Each setting has its type, its bounds, its unit, its value in every preset and the sentence that stands under its field.
"""

from __future__ import annotations

import dataclasses
import json
import operator
import re
from collections.abc import Iterator
from typing import Any

from pipeline.config.config import Config
from pipeline.config.describe import Setting, describe_settings, sentences_of
from pipeline.config.presets import PRESETS

_HEAD = """\
# Every setting

A configuration file is YAML that starts from a preset and changes what it names:

```yaml
preset: demo
clips: {crf: 23}
```

`lampworks run --set NAME=VALUE` changes one setting, and the root remembers it. `lampworks config --root DIR` prints
the values of a root and where each comes from. A value outside of its bounds is refused with the name of the setting.
This page is made from the code by `lampworks config --reference`.
"""
_MOST_SHOWN = 120
"""Characters of a value that are shown whole; a longer list is cut."""


def config_reference() -> str:
    """Return the Markdown page of all settings, section by section, in the order in which the code states them."""
    config = Config()
    presets = {name: make() for name, make in PRESETS.items()}
    settings = {one.name: one for one in describe_settings(config)}
    lines = [_HEAD]
    for field, sentence in sentences_of(Config).items():
        section = getattr(config, field)
        if dataclasses.is_dataclass(section):
            lines += [f"## {field}", "", marked(sentence), ""]
            lines += _section(section, field, settings, presets)
        else:
            lines += _entry(settings[field], presets)
    return "\n".join(lines)


def _section(section: Any, prefix: str, settings: dict[str, Setting], presets: dict[str, Config]) -> Iterator[str]:
    cls: Any = type(section)  # mypy holds a class for unhashable
    sentences = sentences_of(cls)
    inner = []
    for field in dataclasses.fields(section):
        name, value = f"{prefix}.{field.name}", getattr(section, field.name)
        if dataclasses.is_dataclass(value):
            inner.append((name, value, sentences[field.name]))
        else:
            yield from _entry(settings[name], presets)
    for name, value, sentence in inner:
        yield from (f"### {name}", "", marked(sentence), "")
        yield from _section(value, name, settings, presets)


def _entry(setting: Setting, presets: dict[str, Config]) -> Iterator[str]:
    """Yield one setting as an entry of a definition list, with an anchor of its name."""
    facts = [setting.type.replace("|", "or"), f"must {setting.bounds}" if setting.bounds else "", setting.unit]
    read = operator.attrgetter(setting.name)
    yield f'<a id="{setting.name}"></a>**`{setting.name}`** ({", ".join(filter(None, facts))})'
    yield f":   {marked(setting.sentence)}"
    yield ""
    yield f"    Value: {_values({name: read(config) for name, config in presets.items()})}"
    yield ""


def _values(values: dict[str, object]) -> str:
    """Return the value of each preset, those that share one together: `28` (demo), `23` (all others)."""
    shared: dict[str, list[str]] = {}
    for preset, value in values.items():
        shared.setdefault(_shown(value), []).append(preset)
    if len(shared) == 1:
        return f"{next(iter(shared))} in every preset"
    most = max(shared, key=lambda text: len(shared[text]))
    parts = [f"{text} ({', '.join(presets)})" for text, presets in shared.items() if text != most]
    return ", ".join([*parts, f"{most} (all others)" if len(shared[most]) > 1 else f"{most} ({shared[most][0]})"])


def _shown(value: object) -> str:
    text = "unset" if value is None else json.dumps(value, ensure_ascii=False)
    return f"`{text}`" if len(text) <= _MOST_SHOWN else f"`{text[:_MOST_SHOWN]} ...`"


def marked(text: str) -> str:
    """Return a sentence as Markdown: outside of backticks, characters with a meaning there are escaped."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([<>*\[\]])", r"\\\1", part) for part in parts)
