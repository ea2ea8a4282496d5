"""Storage in a bucket of S3, or of a server that speaks it (R2, MinIO, SeaweedFS)."""

from __future__ import annotations

import random
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from core.whole_files import replacing
from storage import keys
from storage.base import FULL_MESSAGE, AlreadyExists, Changed, Damaged, Entry, NotFound, Unavailable, check_size
from storage.folder import copy, opened, os_errors

# Files of this size and more are uploaded in parts. boto3's own multipart upload takes no condition.
MULTIPART_BYTES = 64 * 2**20
PART_BYTES = 8 * 2**20  # S3 takes at most 10,000 parts
PARTS_AT_ONCE = 3
# Calls fail at once for this time after a failed connection, since one request makes several calls.
AWAY_SECONDS = 1.0
# Pauses between the tries of a conditional write that AWS answers with 409, each cut by a random factor.
CONFLICT_PAUSES = (0.1, 0.2, 0.4, 0.8, 1.6)
MAX_LISTED = 1_000  # entries that S3 returns at once

_ABSENT = {"404", "NoSuchKey", "NoSuchUpload", "NotFound"}
_FULL = {"InsufficientStorage", "QuotaExceeded", "XMinioStorageFull"}

T = TypeVar("T")
R = TypeVar("R")


class _OutOfRange(Exception):
    """The requested range begins after the end of the object."""


class _Conflict(Unavailable):
    """Another request wrote or deleted the object at the same time, so that AWS did not check the condition."""


class S3:
    """A bucket, or a folder in it: each object of the storage is an object there. boto3 finds the credentials.

    Args:
        bucket: its name.
        prefix: the folder in the bucket, without slashes at its ends; empty for the whole bucket.
        endpoint: URL of an S3-compatible server; None means AWS.
    """

    def __init__(self, bucket: str, prefix: str = "", endpoint: str | None = None) -> None:
        self.bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        config = Config(
            signature_version="s3v4",
            # Four tries bridge a lost connection, and end within half a minute if the server hangs. Waiting for a
            # server that is down is up to RetryingStorage.
            retries={"mode": "standard", "total_max_attempts": 4},
            connect_timeout=3,
            read_timeout=5,
            max_pool_connections=32,
            # Few other servers than AWS have the bucket in their host name.
            s3={"addressing_style": "path" if endpoint else "auto"},
            # Not every server understands the checksums that boto3 adds by default.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        self._away_until = 0.0
        # The default session is not safe to share between threads.
        self._client = boto3.session.Session().client("s3", endpoint_url=endpoint, config=config)

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        return self._put(key, data, sha256(data).hexdigest(), if_absent, if_match)

    def put_file(self, key: str, source: Path | BinaryIO, *, if_absent: bool = False) -> str:
        with opened(source) as file:
            digest = file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
            size = file.tell()
            file.seek(0)
            if size < MULTIPART_BYTES:
                return self._put(key, file, digest, if_absent, None)
            return self._put_parts(key, file, digest, if_absent)

    def get(self, key: str) -> bytes:
        return self.get_with_etag(key)[0]

    def get_with_etag(self, key: str, max_bytes: int | None = None) -> tuple[bytes, str]:
        def take(answer: Any) -> tuple[bytes, str]:
            check_size(key, answer["ContentLength"], max_bytes)
            data: bytes = answer["Body"].read()
            _check_digest(key, answer, sha256(data).hexdigest())
            return data, _unquoted(answer["ETag"])

        return self._read(key, take)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        if length <= 0:  # HTTP has no empty range
            if self.stat(key) is None:
                raise NotFound(key)
            return b""
        wanted = f"bytes={start}-{start + length - 1}"
        try:
            return self._read(key, lambda answer: bytes(answer["Body"].read()), Range=wanted)
        except _OutOfRange:
            return b""

    def get_file(self, key: str, path: Path) -> None:
        with os_errors(key, writing=True), replacing(path) as target:
            self._read(key, lambda answer: _check_digest(key, answer, _copy(answer["Body"], target)))

    def stat(self, key: str) -> Entry | None:
        answer = self._head(key)
        if answer is None:
            return None
        digest = answer["Metadata"].get("sha256")
        return Entry(key, answer["ContentLength"], answer["LastModified"], _unquoted(answer["ETag"]), digest)

    def list(self, prefix: str, after: str = "", limit: int | None = None) -> Iterator[Entry]:
        start = {"StartAfter": self._prefix + after} if after else {}
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket,
            Prefix=self._prefix + keys.check_prefix(prefix),
            PaginationConfig={"MaxItems": limit, "PageSize": min(limit or MAX_LISTED, MAX_LISTED)},
            **start,
        )
        entries = []
        with self._errors(prefix):
            for page in pages:
                for found in page.get("Contents", []):
                    key = found["Key"].removeprefix(self._prefix)
                    entries.append(Entry(key, found["Size"], found["LastModified"], _unquoted(found["ETag"])))
        # Not every server sorts as AWS does.
        valid = (entry for entry in entries if keys.is_key(entry.key))
        yield from sorted(valid, key=lambda entry: entry.key.encode())

    def holds(self, prefix: str) -> bool:
        named = {"Bucket": self.bucket, "Prefix": self._prefix + keys.check_prefix(prefix), "MaxKeys": 1}
        with self._errors(prefix):
            return bool(self._client.list_objects_v2(**named).get("Contents"))

    def delete(self, key: str) -> bool:
        existed = self.stat(key) is not None
        with self._errors(key):
            self._client.delete_object(Bucket=self.bucket, Key=self._name(key))
        return existed

    def tidy(self, seconds: float) -> int:
        oldest = datetime.now(UTC) - timedelta(seconds=seconds)
        count = 0
        with self._errors(self._prefix):
            pages = self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self.bucket, Prefix=self._prefix
            )
            for upload in (upload for page in pages for upload in page.get("Uploads", [])):
                if upload["Initiated"] < oldest:
                    named = {"Bucket": self.bucket, "Key": upload["Key"], "UploadId": upload["UploadId"]}
                    self._client.abort_multipart_upload(**named)
                    count += 1
        return count

    def local(self, key: str) -> None:
        return None

    def link(self, key: str, seconds: int, media_type: str) -> str:
        wanted = {"Bucket": self.bucket, "Key": self._name(key), "ResponseContentType": media_type}
        return str(self._client.generate_presigned_url("get_object", Params=wanted, ExpiresIn=seconds))

    def upload_link(self, key: str, seconds: int, size: int) -> tuple[str, dict[str, str]]:
        wanted = {"Bucket": self.bucket, "Key": self._name(key), "ContentLength": size, "IfNoneMatch": "*"}
        url = self._client.generate_presigned_url("put_object", Params=wanted, ExpiresIn=seconds)
        # The length is signed as well, but HTTP clients send it themselves.
        return str(url), {"If-None-Match": "*"}

    def _name(self, key: str) -> str:
        return self._prefix + keys.check(key)

    def _put(
        self, key: str, body: bytes | BinaryIO, digest: str, if_absent: bool = False, if_match: str | None = None
    ) -> str:
        mark = uuid.uuid4().hex
        named = {"Bucket": self.bucket, "Key": self._name(key), "Metadata": {"put": mark, "sha256": digest}}
        condition = {"IfNoneMatch": "*"} if if_absent else {}
        if if_match is not None:
            condition["IfMatch"] = f'"{if_match}"'

        def write() -> Any:
            if not isinstance(body, bytes):
                body.seek(0)
            return self._client.put_object(**named, Body=body, **condition)

        return self._write(key, mark, if_match, write)

    def _put_parts(self, key: str, file: BinaryIO, digest: str, if_absent: bool) -> str:
        """Upload in parts, several at once. S3 checks the condition when the parts become an object."""
        if if_absent and self.stat(key):
            raise AlreadyExists(key)
        mark = uuid.uuid4().hex
        named = {"Bucket": self.bucket, "Key": self._name(key)}
        metadata = {"put": mark, "sha256": digest}
        condition = {"IfNoneMatch": "*"} if if_absent else {}

        def write() -> Any:
            file.seek(0)
            upload = {**named, "UploadId": self._client.create_multipart_upload(**named, Metadata=metadata)["UploadId"]}

            def send(part: tuple[int, bytes]) -> dict[str, Any]:
                number, data = part
                answer = self._client.upload_part(**upload, PartNumber=number, Body=data)
                return {"PartNumber": number, "ETag": answer["ETag"]}

            try:
                parts = {"Parts": list(_concurrently(send, _parts(file)))}
                return self._client.complete_multipart_upload(**upload, MultipartUpload=parts, **condition)
            except BaseException:
                with suppress(BotoCoreError, ClientError):
                    self._client.abort_multipart_upload(**upload)
                raise

        return self._write(key, mark, None, write)

    def _write(self, key: str, mark: str, if_match: str | None, write: Callable[[], Any]) -> str:
        """Write the object and return its etag. After AWS's 409 the present object decides whether to try again.

        Args:
            mark: in the metadata of the new object. boto3 sends a request again if its answer was lost, and the
                second one then fails on the object of the first: the mark tells it from another writer's.
            if_match: the etag that the object must have; None if it must be absent, or there is no condition.
            write: sends the object, on its condition, and returns the answer. It may be called several times.
        """
        for pause in (*CONFLICT_PAUSES, None):
            try:
                with self._errors(key):
                    return _unquoted(write()["ETag"])
            except (AlreadyExists, NotFound, _Conflict) as error:
                present = self._head(key)
                etag = _unquoted(present["ETag"]) if present else None
                if present and etag and present["Metadata"].get("put") == mark:
                    return etag
                if isinstance(error, _Conflict) and etag == if_match:  # the condition still holds
                    if pause is None:
                        raise
                    time.sleep(pause * random.random())  # nosec B311 - no secret
                    continue
                if if_match is not None:
                    raise Changed(key) from error
                if isinstance(error, _Conflict):
                    raise AlreadyExists(key) from error
                raise
        raise AssertionError("the last try returns or raises")

    def _head(self, key: str) -> Any:
        """The answer to a HEAD request; None if there is no object."""
        try:
            with self._errors(key):
                return self._client.head_object(Bucket=self.bucket, Key=self._name(key))
        except NotFound:
            return None

    def _read(self, key: str, take: Callable[[Any], T], **request: Any) -> T:
        """The result of `take` for the object. boto3 retries requests, but not a body that breaks off."""
        for last in (False, False, True):
            with self._errors(key):
                answer = self._client.get_object(Bucket=self.bucket, Key=self._name(key), **request)
                try:
                    with closing(answer["Body"]):
                        return take(answer)
                except BotoCoreError:
                    if last:
                        raise
        raise AssertionError("the last try returns or raises")

    @contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        """Raise boto3's errors as the storage's, and at once for AWAY_SECONDS after a failed connection."""
        if time.monotonic() < self._away_until:
            raise Unavailable(503, "the storage cannot be reached; try again later")
        try:
            yield
        except ClientError as error:
            code = error.response["Error"]["Code"]
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            if code in _ABSENT:
                raise NotFound(key) from error
            if status == 416:
                raise _OutOfRange from error
            if status == 412:
                raise AlreadyExists(key) from error
            if code == "ConditionalRequestConflict":
                raise _Conflict(503, "other requests keep writing this object; try again later") from error
            if status == 507 or code in _FULL:
                raise Unavailable(507, FULL_MESSAGE) from error
            if code == "NoSuchBucket":
                message = f"STORAGE_URL: there is no bucket {self.bucket}; make it, or name another"
            elif status in (401, 403):
                message = f"the storage refused us ({code}); check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            else:
                message = f"the storage answered {status} ({code}); try again later"
            raise Unavailable(503, message) from error
        except (BotoCoreError, Boto3Error) as error:
            if isinstance(error, HTTPClientError):
                self._away_until = time.monotonic() + AWAY_SECONDS
            message = f"the storage cannot be reached ({type(error).__name__}); try again later"
            raise Unavailable(503, message) from error


def _copy(source: Any, target: BinaryIO) -> str:
    """Write the whole body to `target`, in place of what an earlier try wrote, and return its digest."""
    target.seek(0)
    target.truncate()
    return copy(source, target)


def _check_digest(key: str, answer: Any, digest: str) -> None:
    if answer["Metadata"].get("sha256", digest) != digest:
        raise Damaged(key)


def _parts(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """The file's parts, numbered from 1."""
    return enumerate(iter(lambda: file.read(PART_BYTES), b""), 1)


def _concurrently(do: Callable[[T], R], items: Iterator[T]) -> Iterator[R]:
    """`do` of each item, in order, PARTS_AT_ONCE at a time; no more items than that are held in memory."""
    with ThreadPoolExecutor(PARTS_AT_ONCE) as pool:
        pending: deque[Future[R]] = deque()
        for item in items:
            pending.append(pool.submit(do, item))
            if len(pending) == PARTS_AT_ONCE:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _unquoted(etag: str) -> str:
    return etag.strip('"')
