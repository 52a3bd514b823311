"""A check's stack is taken away, with what the template keeps when a stack is deleted."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local.stack import Stack

type Say = Callable[[str], None]
_GONE = ("does not exist", "NoSuchBucket", "ResourceNotFoundException")


def remove(stack: Stack, name: str, say: Say) -> None:
    """Deletes the stack, its secrets, and the bucket and the user pool that it would keep.

    Tries all of it whatever fails; raises SystemExit, which names what is left.
    """
    say(f"removing {name}; the network interfaces of functions in a VPC can take 45 minutes")
    stack.secret_prefix = f"{name}/"
    kept: list[tuple[str, str]] = []
    left: list[str] = []

    @contextmanager
    def trying(what: str) -> Iterator[None]:
        try:
            yield
        except (BotoCoreError, ClientError) as error:
            if not any(gone in str(error) for gone in _GONE):
                left.append(f"{what} ({error})")

    with trying(f"whatever stack {name} would keep"):
        kept = stack.kept_by_deletion(stack_name=name)
    with trying(f"the stack {name}"):
        stack.delete(stack_name=name)
    with trying(f"the secrets whose names begin with {name}/"):
        stack.delete_secrets()
    for kind, physical in kept:
        with trying(f"{kind} {physical}"):
            if kind == "AWS::S3::Bucket":
                _delete_bucket(stack.client("s3"), physical)
            else:
                stack.client("cognito-idp").delete_user_pool(UserPoolId=physical)
    if left:
        raise SystemExit("these could not be removed, do it by hand: " + "; ".join(left))


def _delete_bucket(s3: Any, bucket: str) -> None:
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for version in page.get("Versions", []) + page.get("DeleteMarkers", []):
            s3.delete_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])
    s3.delete_bucket(Bucket=bucket)
