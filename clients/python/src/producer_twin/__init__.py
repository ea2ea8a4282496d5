"""The client of Producer Twin: train a LoRA twin of a producer's style, and generate music with it."""

from producer_twin._async.client import AsyncProducerTwin
from producer_twin._async.jobs import AsyncJob
from producer_twin._async.tracks import AsyncTake, AsyncTakes, AsyncTrack
from producer_twin._async.twins import AsyncTwin
from producer_twin._connection import package_version
from producer_twin._retry import Retry
from producer_twin._sync.client import ProducerTwin
from producer_twin._sync.jobs import Job
from producer_twin._sync.tracks import Take, Takes, Track
from producer_twin._sync.twins import Twin
from producer_twin.errors import ApiError, JobFailed, ProducerTwinError, TrackFailed, Unreachable

__version__ = package_version()
__all__ = [
    "ApiError",
    "AsyncJob",
    "AsyncProducerTwin",
    "AsyncTake",
    "AsyncTakes",
    "AsyncTrack",
    "AsyncTwin",
    "Job",
    "JobFailed",
    "ProducerTwin",
    "ProducerTwinError",
    "Retry",
    "Take",
    "Takes",
    "Track",
    "TrackFailed",
    "Twin",
    "Unreachable",
]
