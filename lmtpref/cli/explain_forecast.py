"""Forecasts of other list software in words and as data, for `explain`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from lmtpref.lists.forecast import Forecast, Forecaster
from lmtpref.lists.mailinglist import DirectoryError, ListDirectory
from lmtpref.protocol.client.message import MailObject
from lmtpref.protocol.syntax import Path


def forecast_of(directory: ListDirectory, mail: MailObject) -> Forecast | str | None:
    """Return the forecast for `mail`, or why there is none; None if the lists belong to no other software, or `mail` is not a post."""
    if not isinstance(directory, Forecaster):
        return None
    directory.start_forecasts()
    recipient, sender = Path.parse(mail.forward_paths[0]), Path.parse(mail.reverse_path) if mail.reverse_path else None
    try:
        return asyncio.run(directory.forecast(recipient, sender, mail.content))
    except DirectoryError as error:
        return str(error)


def forecast_as_text(forecast: Forecast | str | None) -> Iterator[str]:
    """Yield the lines of a forecast: each rule with its chain, the action, its reasons, and the reply."""
    if forecast is None:
        return
    yield "Forecast by the rules of the list software, at the end of the message:"
    if isinstance(forecast, str):
        yield f"   unknown                    {forecast}"
        return
    yield from (f"   {asked.rule + '?':<26} {f'hit, in {asked.chain}' if asked.hit else '-'}" for asked in forecast.rules)
    yield f"     {'action':<24} {forecast.action}"
    yield from (f"     {'reason':<24} {reason}" for reason in forecast.reasons)
    if forecast.reply:
        yield f"     {'reply of its runner':<24} {forecast.reply}"


def forecast_as_data(forecast: Forecast | str | None) -> dict[str, object]:
    """Return the forecast under the key `forecast`, or why there is none; nothing if there was no question."""
    if forecast is None:
        return {}
    if isinstance(forecast, str):
        return {"forecast": {"unknown": forecast}}
    reply = forecast.reply and str(forecast.reply)
    return {"forecast": {**forecast._asdict(), "rules": [asked._asdict() for asked in forecast.rules], "reply": reply}}
