"""Words of earlier versions that are still read."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

# A setting and the old word for one of its values -> the word that it has now.
RENAMED: Mapping[tuple[str, str], str] = {(setting, "refuse"): "reject" for setting in ("bare_newlines", "null_sender", "unvouched")}


def current_word(setting: str, word: str) -> str:
    """Return today's word for `word`, a value of `setting`.

    A FutureWarning reports an old word; Python shows each such warning once.
    """
    new = RENAMED.get((setting, word))
    if new is None:
        return word
    warnings.warn(f'{setting}: "{word}" is now called "{new}"', FutureWarning, stacklevel=1)
    return new
