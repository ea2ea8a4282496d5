"""`/store-upload`."""

from __future__ import annotations

import base64
import binascii
import uuid

from contract import StoreUploadAnswer, StoreUploadRequest
from errors import Refusal
from preprocessing.decode import BadAudio, check_bytes
from settings import Settings
from storage import AlreadyExists, Storage, keys


def store(request: StoreUploadRequest, storage: Storage, settings: Settings) -> StoreUploadAnswer:
    """Check the audio and keep it. The same bytes at the same path again are welcome, others are not."""
    filename = keys.safe_filename(request.filename)
    data = _decoded(request.content_base64, settings.max_upload_bytes)
    try:
        check_bytes(data)
    except BadAudio as reason:
        raise Refusal(400, f"content_base64: {reason}") from reason
    job_id = request.job_id or str(uuid.uuid4())
    key = keys.upload(request.producer_id, job_id, filename)
    try:
        storage.put(key, data, if_absent=True)
    except AlreadyExists:
        if storage.get(key) != data:
            raise Refusal(
                409, f"filename: {keys.to_path(key)} holds another file; choose another filename or job_id"
            ) from None
    return StoreUploadAnswer(path=keys.to_path(key), producer_id=request.producer_id, job_id=job_id)


def _decoded(text: str, limit: int) -> bytes:
    # Data URLs are what browsers make of files.
    payload = text.partition(",")[2] if text.startswith("data:") else text
    if len(payload) * 3 // 4 > limit + 2:
        raise Refusal(413, f"content_base64: the file is over {limit // 2**20} MB; send a shorter or compressed one")
    try:
        return base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refusal(400, "content_base64: it is not valid base64") from error
