"""The JSON API: submit, list, status, result, cancel, delete, download."""

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi import Path as PathParameter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse

from multigrain import __version__
from multigrain.web.answers import AnalysisList, AnalysisStatus, Problem, ServerFacts, status_of
from multigrain.web.archive import stream_zip
from multigrain.web.content_type import TRANSCRIPTS
from multigrain.web.folders import PAGE, POLICY, REPORT, REQUEST, RESULT, TABLE, find
from multigrain.web.jobs import Job
from multigrain.web.media_type import MEDIA, MEDIA_TYPES
from multigrain.web.refusal import Refusal
from multigrain.web.services import Services
from multigrain.web.uploads import take_in

Id = Annotated[str, PathParameter(description="The analysis, as the submission answered it.")]
FORM = {
    "type": "object",
    "properties": {
        "video": {"type": "string", "format": "binary", "description": f"{MEDIA}."},
        "transcript": {"type": "string", "format": "binary", "description": f"With a video: {TRANSCRIPTS}."},
        "text": {"type": "string", "description": "Without a video: the text to analyse, one utterance a line. With a video: its transcript."},
    },
}
BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": FORM},
            "application/json": {"schema": {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}}},
        },
    }
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Entries of the OpenAPI document for answers that are errors."""
    meanings = {
        400: "Malformed.",
        404: "No such analysis.",
        408: "The upload was too slow.",
        409: "Not in this state.",
        413: "Too large.",
        415: "Of a wrong type.",
        422: "Not what is expected.",
        429: "Too many; `Retry-After` says when to try again.",
        503: "The database does not answer; `Retry-After` says when to try again.",
        507: "The disk is full.",
    }
    return {status: {"model": Problem, "description": meanings[status]} for status in statuses}


def build_api(services: Services) -> APIRouter:
    """The routes under /api."""
    api = APIRouter(prefix="/api", tags=["analyses"])
    store, folders, settings = services.store, services.folders, services.settings

    def shown(job: Job) -> AnalysisStatus:
        return status_of(job, store.places([job]).get(job.id))

    def finished_file(id: str, name: str) -> Path:
        job = services.job(id)
        path = folders.job(id) / name
        if job.state != "done" or not path.is_file():
            raise Refusal(409, f"The analysis is {job.state}; it has a result only once it is done.")
        return path

    @api.post(
        "/analyses",
        status_code=202,
        response_model=AnalysisStatus,
        response_description="Queued.",
        responses=problems(400, 408, 413, 415, 422, 429, 503, 507),
        openapi_extra=BODY,
    )
    async def submit(request: Request) -> Response:
        """Submits a video (with a transcript, or without) or a text. It is analysed when its turn comes."""
        async with services.upload() as (id, folder):
            submission = await take_in(request, folder, folders, settings)
            job = await run_in_threadpool(services.submit, id, kind=submission.kind, title=submission.title)
        answer = await run_in_threadpool(shown, job)
        return JSONResponse(answer.model_dump(), 202, headers={"Location": f"/api/analyses/{job.id}"})

    @api.get("/analyses", response_model=AnalysisList)
    def list_analyses(offset: Annotated[int, Query(ge=0, le=10**9)] = 0, limit: Annotated[int, Query(ge=1, le=200)] = 100) -> AnalysisList:
        """Lists analyses, newest first."""
        jobs, total = store.newest(offset=offset, limit=limit)
        places = store.places(jobs)
        return AnalysisList(analyses=[status_of(job, places.get(job.id)) for job in jobs], total=total)

    @api.get("/analyses/{id}", response_model=AnalysisStatus, responses=problems(404))
    def status(id: Id) -> AnalysisStatus:
        """How far an analysis is."""
        return shown(services.job(id))

    @api.get("/analyses/{id}/result", responses=problems(404, 409))
    def result(id: Id) -> FileResponse:
        """The result as JSON, the same as `multigrain analyze --json` writes."""
        return FileResponse(finished_file(id, RESULT), media_type="application/json")

    @api.get("/analyses/{id}/report", response_class=FileResponse, responses=problems(404, 409))
    def report(id: Id) -> FileResponse:
        """The report as one HTML file, to be kept; the video plays in it where it lies beside it."""
        return FileResponse(finished_file(id, REPORT), media_type="text/html", filename=f"multigrain-{id[:8]}.html")

    @api.get("/analyses/{id}/table", response_class=FileResponse, responses=problems(404, 409))
    def table(id: Id) -> FileResponse:
        """The utterances with their scores, as CSV."""
        return FileResponse(finished_file(id, TABLE), media_type="text/csv", filename=f"multigrain-{id[:8]}.csv")

    @api.get("/analyses/{id}/video", response_class=FileResponse, responses=problems(404))
    def video(id: Id) -> FileResponse:
        """The video as it was submitted; parts of it for a `Range`."""
        services.job(id)
        path = find(folders.job(id), "video")
        if path is None:
            raise Refusal(404, "This analysis is of a text; it has no video.")
        return FileResponse(path, media_type=MEDIA_TYPES[path.suffix[1:]])

    @api.get("/analyses/{id}/archive", response_class=StreamingResponse, responses=problems(404, 409))
    def archive(id: Id) -> StreamingResponse:
        """Everything of an analysis as ZIP: report, JSON, CSV, video, transcript."""
        folder = finished_file(id, RESULT).parent
        ours = {REQUEST, POLICY, REPORT}
        files = {REPORT if path.name == PAGE else path.name: path for path in sorted(folder.iterdir()) if path.name not in ours}
        headers = {"Content-Disposition": f'attachment; filename="multigrain-{id[:8]}.zip"'}
        return StreamingResponse(stream_zip(files), media_type="application/zip", headers=headers)

    @api.post("/analyses/{id}/cancel", response_model=AnalysisStatus, responses=problems(404, 409, 503, 507))
    def cancel(id: Id) -> AnalysisStatus:
        """Stops an analysis that waits or runs; what was submitted stays until it is deleted."""
        job = services.job(id)
        if job.is_finished or not services.pool.cancel(id):
            raise Refusal(409, f"The analysis is {services.job(id).state} already; there is nothing to cancel.")
        return shown(services.job(id))

    @api.delete("/analyses/{id}", status_code=204, responses=problems(404, 503, 507))
    def delete(id: Id) -> Response:
        """Deletes an analysis for good: video, transcript, results, and its entry; one that runs is stopped before."""
        services.delete(services.job(id))
        return Response(status_code=204)

    @api.get("/server", response_model=ServerFacts)
    def server() -> ServerFacts:
        """What this server takes."""
        return ServerFacts(
            version=__version__,
            needs_token=settings.token is not None,
            recognizer=settings.recognizer,
            max_video_bytes=settings.video_bytes,
            max_transcript_bytes=settings.transcript_bytes,
            max_text_bytes=settings.text_bytes,
            max_text_characters=settings.text_characters,
            max_text_lines=settings.text_lines,
            max_utterances=settings.utterances,
            max_duration_seconds=settings.duration_seconds,
            max_queue=settings.queue,
            time_limit_seconds=settings.time_limit_seconds,
        )

    return api
