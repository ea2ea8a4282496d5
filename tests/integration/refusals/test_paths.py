"""Paths, methods and queries that are refused."""

from __future__ import annotations

from tests.api import Api
from tests.conftest import Twin
from tests.integration.refusals.cases import Case, assert_refused, cases


def get(path: str, status: int, *names: str, method: str = "GET") -> Case:
    return Case(method, path, status, names, method=method)


@cases(
    get("/nothing", 404, "/nothing"),
    get("/data/uploads", 404),
    get("/jobs/nobody", 404, "job_id", "nobody"),
    get("/jobs/.hidden", 404, "job_id"),
    get("/jobs/a%00b", 404, "job_id"),
    get("/jobs/a%5Cb", 404, "job_id"),
    get("/jobs/ace-job%0A", 404, "job_id"),
    get("/jobs/" + "a" * 300, 404, "job_id"),
    get("/jobs/%2e%2e%2fjobs%2face-job", 404),
    get("/loras/no:body", 404, "lora_id", "no:body"),
    get("/loras/.a:b", 404, "lora_id"),
    get("/loras/a:b:c", 404, "lora_id"),
    get("/loras/studio", 404),
    get("/loras/no:body", 404, "lora_id", "no:body", method="DELETE"),
    get("/loras/%2e%2e%2fx:y", 404, method="DELETE"),
    get("/datasets/nobody", 404, "producer_id", "nobody"),
    get("/datasets/.hidden", 404, "producer_id"),
    get("/datasets/studio%0A", 404, "producer_id"),
    get("/datasets/%FF", 404, "producer_id"),
    get("/train/status?task_id=nobody", 404, "task_id"),
    get("/train/get?task_id=nobody", 404, "task_id"),
    get("/train/status", 400, "task_id"),
    get("/train/get", 400, "task_id"),
    get("/jobs?state=asleep", 400, "state", "queued"),
    get("/jobs?producer_id=.x", 400, "producer_id"),
    get("/jobs?producer_id=studio%0A", 400, "producer_id"),
    get("/jobs?producer=studio", 400, "producer"),
    get("/loras?producer_id=a/b", 400, "producer_id"),
    get("/loras?backend=musicgen", 400, "backend"),
    # Task routes of BentoML that the service does not offer, and routes of jobs that do not exist.
    get("/train/cancel?task_id=x", 404, method="PUT"),
    get("/train/retry?task_id=x", 404, method="POST"),
    *(get(f"/jobs/nobody/{what}", 404, "job_id") for what in ("events", "report", "report.json", "previews/a_1.mp3")),
    *(get(f"/jobs/nobody/{what}", 404, "job_id", method="POST") for what in ("cancel", "resume")),
    *(get(f"/jobs/ace-job/{what}", 409, "job_id", method="POST") for what in ("cancel", "resume")),
    get("/jobs/ace-job/previews/checkpoint.pt", 404),
    *(get(f"/loras/no:body/{what}", 404, "lora_id", "no:body") for what in ("versions", "file")),
    get("/loras/studio:ace_twin/file?version=0123456789abcdef", 404, "lora_id", "@0123456789abcdef"),
    get("/loras/studio:ace_twin/file?version=%0A/..", 404, "lora_id"),
    get("/data/outputs/base/nothing.wav", 404, "/data/outputs/base/nothing.wav"),
    get("/data/outputs/", 404),
    get("/data/outputs/..%2floras/studio_ace_twin.safetensors", 404),
    get("/data/outputs/%2e%2e/loras/studio_ace_twin.safetensors", 404),
)
def test_what_is_not_there(api: Api, twins: dict[str, Twin], case: Case) -> None:
    assert_refused(api, case)


METHODS = {
    "POST": ["/store-upload", "/train", "/train/submit", "/generate"],
    "GET": ["/backends", "/jobs", "/loras", "/datasets/studio", "/train/status", "/train/get"],
}


@cases(
    *(
        Case(method, path, 405, (method, path), method=method)
        for right, paths in METHODS.items()
        for path in paths
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH")
        if method != right
    ),
    *(Case("PUT", path, 405, ("PUT", path), method="PUT") for path in ("/loras/studio:ace_twin", "/jobs/ace-job")),
)
def test_the_wrong_method_is_told_the_right_ones(api: Api, twins: dict[str, Twin], case: Case) -> None:
    allowed = {method.strip() for method in assert_refused(api, case).headers["allow"].split(",")}
    assert case.method not in allowed
    if case.path.startswith(("/loras/", "/jobs/")):
        assert {"GET", "DELETE"} <= allowed
    else:
        assert allowed & {"GET", "POST"} == {right for right, paths in METHODS.items() if case.path in paths}
