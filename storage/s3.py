"""Storage in a bucket of S3, or of a server that speaks it (R2, MinIO, SeaweedFS)."""

from __future__ import annotations

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

from storage import keys
from storage.base import AlreadyExists, Changed, Damaged, Entry, NotFound, Unavailable
from storage.folder import copy, opened, os_errors, replacing

# From this size on, a file goes up in parts. boto3's own upload in parts knows no conditions.
MULTIPART_BYTES = 64 * 2**20
PART_BYTES = 8 * 2**20  # S3 takes at most 10,000 parts
AT_ONCE = 3
# A request visits storage several times: so long after one that found nobody there, the others need not find out anew.
AWAY_SECONDS = 1.0

_ABSENT = {"404", "NoSuchKey", "NoSuchUpload", "NotFound"}
_FULL = {"InsufficientStorage", "QuotaExceeded", "XMinioStorageFull"}

T = TypeVar("T")
R = TypeVar("R")


class _OutOfRange(Exception):
    """The object ends before the range that was asked for begins."""


class S3:
    """An object for an object. The credentials are boto3's own business (AWS_* and the like)."""

    def __init__(self, bucket: str, prefix: str = "", endpoint: str | None = None) -> None:
        self.bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        config = Config(
            signature_version="s3v4",
            # Four tries make up for a lost connection, and fail within half a minute even where a server that hangs
            # takes all of each try's time. Waiting for a server that is not there is `patient`'s business.
            retries={"mode": "standard", "total_max_attempts": 4},
            connect_timeout=3,
            read_timeout=5,
            max_pool_connections=32,
            # A custom server seldom has the bucket in its host name.
            s3={"addressing_style": "path" if endpoint else "auto"},
            # Not every server understands the checksums that boto3 adds by itself.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        self._away_until = 0.0
        # A session of its own: the default one is not safe to share among threads.
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

    def get_with_etag(self, key: str) -> tuple[bytes, str]:
        def take(answer: Any) -> tuple[bytes, str]:
            data: bytes = answer["Body"].read()
            _check(key, answer, sha256(data).hexdigest())
            return data, _bare(answer["ETag"])

        return self._read(key, take)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        if length <= 0:  # which S3 has no way to ask for
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
            self._read(key, lambda answer: _check(key, answer, _copy(answer["Body"], target)))

    def stat(self, key: str) -> Entry | None:
        try:
            with self._told(key):
                answer = self._client.head_object(Bucket=self.bucket, Key=self._name(key))
        except NotFound:
            return None
        digest = answer["Metadata"].get("sha256")
        return Entry(key, answer["ContentLength"], answer["LastModified"], _bare(answer["ETag"]), digest)

    def list(self, prefix: str) -> Iterator[Entry]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=self._prefix + keys.check_prefix(prefix)
        )
        entries = []
        with self._told(prefix):
            for page in pages:
                for found in page.get("Contents", []):
                    key = found["Key"].removeprefix(self._prefix)
                    entries.append(Entry(key, found["Size"], found["LastModified"], _bare(found["ETag"])))
        # Not every server sorts as AWS does.
        valid = (entry for entry in entries if keys.is_key(entry.key))
        yield from sorted(valid, key=lambda entry: entry.key.encode())

    def holds(self, prefix: str) -> bool:
        named = {"Bucket": self.bucket, "Prefix": self._prefix + keys.check_prefix(prefix), "MaxKeys": 1}
        with self._told(prefix):
            return bool(self._client.list_objects_v2(**named).get("Contents"))

    def delete(self, key: str) -> bool:
        there = self.stat(key) is not None
        with self._told(key):
            self._client.delete_object(Bucket=self.bucket, Key=self._name(key))
        return there

    def tidy(self, seconds: float) -> int:
        oldest = datetime.now(UTC) - timedelta(seconds=seconds)
        count = 0
        with self._told(self._prefix):
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
        # The length is signed as well; whoever sends the bytes sends it by itself.
        return str(url), {"If-None-Match": "*"}

    def _name(self, key: str) -> str:
        return self._prefix + keys.check(key)

    def _put(
        self, key: str, body: bytes | BinaryIO, digest: str, if_absent: bool = False, if_match: str | None = None
    ) -> str:
        request: dict[str, Any] = {"Body": body}
        if if_absent:
            request["IfNoneMatch"] = "*"
        if if_match is not None:
            request["IfMatch"] = f'"{if_match}"'
        mark = uuid.uuid4().hex
        named = {"Bucket": self.bucket, "Key": self._name(key), "Metadata": {"put": mark, "sha256": digest}}
        return self._on_condition(key, mark, if_match is not None, lambda: self._client.put_object(**named, **request))

    def _put_parts(self, key: str, file: BinaryIO, digest: str, if_absent: bool) -> str:
        """In parts, several at once. The condition is asked for where the parts become an object."""
        if if_absent and self.stat(key):
            raise AlreadyExists(key)
        mark = uuid.uuid4().hex
        named = {"Bucket": self.bucket, "Key": self._name(key)}
        with self._told(key):
            upload = self._client.create_multipart_upload(**named, Metadata={"put": mark, "sha256": digest})
        named["UploadId"] = upload["UploadId"]

        def send(part: tuple[int, bytes]) -> dict[str, Any]:
            number, data = part
            answer = self._client.upload_part(**named, PartNumber=number, Body=data)
            return {"PartNumber": number, "ETag": answer["ETag"]}

        condition = {"IfNoneMatch": "*"} if if_absent else {}
        try:
            with self._told(key):
                parts = {"Parts": list(_side_by_side(send, _parts(file)))}
            return self._on_condition(
                key,
                mark,
                False,
                lambda: self._client.complete_multipart_upload(**named, MultipartUpload=parts, **condition),
            )
        except BaseException:
            with suppress(BotoCoreError, ClientError):
                self._client.abort_multipart_upload(**named)
            raise

    def _on_condition(self, key: str, mark: str, if_match: bool, write: Callable[[], Any]) -> str:
        """Write, and return the etag."""
        try:
            with self._told(key):
                return _bare(write()["ETag"])
        except (AlreadyExists, NotFound) as error:
            # If the answer to our own success was lost, the retry finds our object in the way.
            if etag := self._etag_of(key, mark):
                return etag
            if if_match:
                raise Changed(key) from error
            raise

    def _etag_of(self, key: str, mark: str) -> str | None:
        """The object's etag if it is the one that was put with this mark."""
        try:
            with self._told(key):
                answer = self._client.head_object(Bucket=self.bucket, Key=self._name(key))
        except NotFound:
            return None
        return _bare(answer["ETag"]) if answer["Metadata"].get("put") == mark else None

    def _read(self, key: str, take: Callable[[Any], T], **request: Any) -> T:
        """What `take` makes of the answer. boto3 retries requests; a body that breaks off is left to us."""
        for last in (False, False, True):
            with self._told(key):
                answer = self._client.get_object(Bucket=self.bucket, Key=self._name(key), **request)
                try:
                    with closing(answer["Body"]):
                        return take(answer)
                except BotoCoreError:
                    if last:
                        raise
        raise AssertionError("the last try returns or raises")

    @contextmanager
    def _told(self, key: str) -> Iterator[None]:
        """Errors of boto3 as errors of the storage. Right after the server could not be reached, nobody tries."""
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
            if status == 507 or code in _FULL:
                message = "the storage is full; delete something or give it more space"
                raise Unavailable(507, message) from error
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
    target.seek(0)
    target.truncate()
    return copy(source, target)


def _check(key: str, answer: Any, digest: str) -> None:
    if answer["Metadata"].get("sha256", digest) != digest:
        raise Damaged(key)


def _parts(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    number = 0
    while data := file.read(PART_BYTES):
        number += 1
        yield number, data


def _side_by_side(do: Callable[[T], R], items: Iterator[T]) -> Iterator[R]:
    """`do` of each, in order, AT_ONCE at a time; no item is taken before there is somebody to do it."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        under_way: deque[Future[R]] = deque()
        for item in items:
            under_way.append(pool.submit(do, item))
            if len(under_way) == AT_ONCE:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()


def _bare(etag: str) -> str:
    return etag.strip('"')
