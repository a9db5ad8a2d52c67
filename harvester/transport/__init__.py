"""The way to the source and back: requests go in, whole answers come out, and everything between is a layer.

From the outside in, as `stack` puts them together:

    Retry         tries again what is worth it, within each page's attempts and everybody's budget
    Blot          what the server echoes of the token is told to nobody
    read          the caller's: asks become requests, answers become pages or BadPage
    Concurrency   so many under way, fewer where the server has no room for more
    Auth          the token, and a new one when it expires
    Fresh         once more where a kept connection had been closed
    Gate          a pause for everybody, and each request's turn in the pace
    Session       aiohttp: one request, one whole answer or one of our errors

Nothing above this room knows aiohttp; nothing in it knows windows.
"""

import os
import random
from collections.abc import Callable, Mapping

from harvester.dialects import Request
from harvester.events import Emit
from harvester.transport.auth import Auth
from harvester.transport.blot import Blot, Blotter
from harvester.transport.budget import Budget
from harvester.transport.clock import LOOP_CLOCK, Clock, LoopClock
from harvester.transport.fresh import Fresh
from harvester.transport.gate import Door, Gate, OutageOutlived
from harvester.transport.layer import A, Answer, Layer, Q
from harvester.transport.learned import Learned, Rate
from harvester.transport.limits import Concurrency, Pace, Steady
from harvester.transport.retry import Retry
from harvester.transport.server_clock import ServerClock
from harvester.transport.session import OpenSession, Session
from harvester.transport.settings import TransportSettings, check_base_url
from harvester.transport.width import Width

__all__ = [
    "LOOP_CLOCK",
    "Answer",
    "Clock",
    "Layer",
    "LoopClock",
    "OpenSession",
    "OutageOutlived",
    "Pace",
    "ServerClock",
    "Session",
    "TransportSettings",
    "Width",
    "check_base_url",
    "pace_of",
    "stack",
    "width_of",
]


def pace_of(settings: TransportSettings, clock: Clock = LOOP_CLOCK) -> Pace:
    """Its `learned_rate` is what the next run wants to be told as `initial_rate`."""
    if settings.requests_per_second is not None:
        return Steady(settings.requests_per_second, clock)
    return Learned(Rate() if settings.initial_rate is None else Rate.remembered(settings.initial_rate), clock)


def width_of(settings: TransportSettings) -> Width:
    """Its `worth_remembering` is what the next run wants to be told as `initial_width`."""
    if settings.initial_width is None:
        return Width(most=settings.concurrency)
    return Width.remembered(settings.concurrency, settings.initial_width)


def stack(
    session: Layer[Request, Answer],
    settings: TransportSettings,
    *,
    read: Callable[[Layer[Request, Answer]], Layer[Q, A]],
    emit: Emit,
    rng: random.Random,
    clock: Clock = LOOP_CLOCK,
    pace: Pace | None = None,
    width: Width | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Layer[Q, A]:
    """The whole of it, for all tasks to share. Reads the token: ConfigError where there is none. Give a
    `pace` and a `width` of your own (`pace_of`, `width_of`) to read afterwards what they have learned."""
    attempts, outage_s = settings.max_attempts, settings.max_outage_s
    pace, width = pace or pace_of(settings, clock), width or width_of(settings)
    door = Door(concurrency=settings.concurrency, max_outage_s=outage_s, rng=rng)
    blotter, budget = Blotter(), Budget()
    return Retry(
        Blot(
            read(
                Concurrency(
                    Auth(
                        Fresh(
                            Gate(session, door, pace=pace, width=width, emit=emit, clock=clock),
                            budget,
                            clock,
                        ),
                        settings,
                        environ=environ,
                        emit=emit,
                        clock=clock,
                        blotter=blotter,
                    ),
                    width,
                )
            ),
            blotter,
        ),
        max_attempts=attempts,
        max_outage_s=outage_s,
        budget=budget,
        emit=emit,
        clock=clock,
        rng=rng,
    )
