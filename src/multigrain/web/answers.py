"""What the JSON API answers, as the OpenAPI document describes it."""

import datetime
from typing import Literal

from pydantic import BaseModel, Field

from multigrain.web.jobs import Job


class AnalysisStatus(BaseModel):
    """How far an analysis is."""

    id: str = Field(description="32 hexadecimal digits, drawn at random.")
    kind: Literal["video", "text"]
    title: str = Field(description="What the client called the file, or the text's beginning.")
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    stage: str = Field(description="What is being done, in words; empty when nothing is.")
    progress: float = Field(ge=0, le=1, description="How much of the stage is done.")
    ahead: int | None = Field(description="How many analyses are before this one in the queue; null when it is not queued.")
    error: str | None = Field(description="Why it failed, in a sentence or two.")
    created: str = Field(description="ISO 8601, UTC, as the other times.")
    started: str | None
    finished: str | None


class AnalysisList(BaseModel):
    """Analyses, newest first."""

    analyses: list[AnalysisStatus]
    total: int = Field(description="How many there are in all.")


class ServerFacts(BaseModel):
    """What this server takes."""

    version: str
    needs_token: bool
    recognizer: str = Field(description="How words are found in a video without a transcript; `none`: not at all.")
    max_video_bytes: int
    max_transcript_bytes: int
    max_text_bytes: int
    max_text_characters: int
    max_text_lines: int
    max_utterances: int = Field(description="Of one video.")
    max_duration_seconds: float
    max_queue: int
    time_limit_seconds: float


class Problem(BaseModel):
    """The body of every answer of 4xx and 5xx."""

    error: str = Field(description="What is wrong and what to do, in a sentence or two.")


def status_of(job: Job, ahead: int | None) -> AnalysisStatus:
    """A job as the API shows it."""
    return AnalysisStatus(
        id=job.id,
        kind="text" if job.kind == "text" else "video",
        title=job.title,
        state=job.state,
        stage=job.stage,
        progress=job.progress,
        ahead=ahead,
        error=job.error,
        created=_time(job.created) or "",
        started=_time(job.started),
        finished=_time(job.finished),
    )


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="milliseconds")
