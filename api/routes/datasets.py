"""The dataset that a producer's newest twin was trained on."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from api.capacity.thread_pools import to_record_thread
from api.routes.handler import Front, Inputs
from api.routes.route import TRAIN, Route
from contract import DatasetAnswer
from core.errors import Refusal
from preprocessing import training_folder


async def newest(front: Front, inputs: Inputs[None]) -> Response:
    producer = inputs.path["producer_id"]
    record = await to_record_thread(training_folder.newest_record, front.storage, producer)
    if record is None:
        raise Refusal(404, f"producer_id: {producer} has no dataset yet; train first")
    return JSONResponse(record)


ROUTES = (
    Route(
        "GET",
        "/datasets/{producer_id}",
        "producers",
        "The record of the producer's newest dataset; docs/preprocessing.md describes it",
        TRAIN,
        newest,
        answer=(DatasetAnswer,),
        answer_example={"schema": 2, "producer_id": "ada", "job_id": "takes", "files": [], "segments": []},
        web_app=True,
    ),
)
