"""Old words for settings that are still accepted."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

# A setting and an old word for one of its values -> the current word.
RENAMED: Mapping[tuple[str, str], str] = {(setting, "refuse"): "reject" for setting in ("bare_newlines", "null_sender", "unvouched")}


def current_word(setting: str, word: str) -> str:
    """Return the current word for `word`, a value of `setting`.

    A FutureWarning reports an old word; Python shows each such warning once.
    """
    new = RENAMED.get((setting, word))
    if new is None:
        return word
    warnings.warn(f'{setting}: "{word}" is now called "{new}"', FutureWarning, stacklevel=1)
    return new
