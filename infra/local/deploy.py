"""Deploys the unchanged template.yaml to the local cloud, the way `sam deploy` does it on AWS: artifacts to S3, then a change set."""

import hashlib
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from artifacts import find_binary, function_zip
from steps import StepFailed

BUCKET = "easyconnect-artifacts"
POLL_SECONDS = 0.1
LIMIT_SECONDS = 180.0
# The line that names a function's crate; nothing else of the template is touched.
CODE_URI = re.compile(r"^(?P<key>\s+CodeUri: )functions/(?P<name>[\w-]+)$", re.MULTILINE)


class Cloud:
    """The services of the local cloud that a deployment needs."""

    def __init__(self, session: Any, endpoint: str) -> None:
        self.s3 = session.client("s3", endpoint_url=endpoint)
        self.cloudformation = session.client("cloudformation", endpoint_url=endpoint)
        self.iam = session.client("iam", endpoint_url=endpoint)
        self._endpoint = endpoint

    def deploy(self, stack: str, template: Path, bin_dir: Path, parameters: Mapping[str, str]) -> dict[str, str]:
        """Creates the stack, brings it up to date or leaves it alone, and returns its outputs."""
        self.s3.create_bucket(Bucket=BUCKET)
        body = CODE_URI.sub(
            lambda match: match["key"] + self._upload(find_binary(bin_dir, match["name"])), template.read_text(encoding="utf-8")
        )
        kind = "UPDATE" if self._stack(stack) else "CREATE"
        change_set = self.cloudformation.create_change_set(
            StackName=stack,
            ChangeSetName=f"up-{time.time_ns()}",
            ChangeSetType=kind,
            TemplateURL=self._upload_template(body),
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        )["Id"]
        if self._change_set_ready(change_set):
            self.cloudformation.execute_change_set(ChangeSetName=change_set)
            self._wait_for_stack(stack)
        outputs = (self._stack(stack) or {}).get("Outputs", [])
        return {output["OutputKey"]: output["OutputValue"] for output in outputs}

    def access_key(self, user: str, known: Mapping[str, str] | None) -> dict[str, str]:
        """An access key of the agent's user: the one of an earlier `up` while it is valid, else a new one."""
        existing = self.iam.list_access_keys(UserName=user)["AccessKeyMetadata"]
        if known and any(key["AccessKeyId"] == known["id"] for key in existing):
            return dict(known)
        created = self.iam.create_access_key(UserName=user)["AccessKey"]
        return {"id": created["AccessKeyId"], "secret": created["SecretAccessKey"]}

    def _upload(self, binary: Path) -> str:
        """Uploads a function's zip under the hash of its binary, so that an unchanged one is not uploaded again."""
        content = binary.read_bytes()
        key = f"{hashlib.sha256(content).hexdigest()}.zip"
        try:
            self.s3.head_object(Bucket=BUCKET, Key=key)
        except ClientError:
            # Speed before size: it goes from one folder of this machine to another.
            self.s3.put_object(Bucket=BUCKET, Key=key, Body=function_zip(content, level=1))
        return f"s3://{BUCKET}/{key}"

    def _upload_template(self, body: str) -> str:
        """Returns its address. A request of CloudFormation takes 51,200 bytes of template at most, an object in S3 a megabyte."""
        key = f"{hashlib.sha256(body.encode()).hexdigest()}.template"
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=body.encode())
        return f"{self._endpoint}/{BUCKET}/{key}"

    def _stack(self, name: str) -> dict[str, Any] | None:
        try:
            return self.cloudformation.describe_stacks(StackName=name)["Stacks"][0]
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise

    def _change_set_ready(self, change_set: str) -> bool:
        """True if there is something to execute, False if nothing would change."""
        deadline = time.monotonic() + LIMIT_SECONDS
        while time.monotonic() < deadline:
            state = self.cloudformation.describe_change_set(ChangeSetName=change_set)
            if state["Status"] == "CREATE_COMPLETE":
                return True
            if state["Status"] == "FAILED":
                reason = state.get("StatusReason", "")
                if "didn't contain changes" in reason or "No updates are to be performed" in reason:
                    return False
                raise StepFailed(f"The template was refused: {reason}")
            time.sleep(POLL_SECONDS)
        raise StepFailed(f"The change set was not ready within {LIMIT_SECONDS:.0f} s.")

    def _wait_for_stack(self, name: str) -> None:
        deadline = time.monotonic() + LIMIT_SECONDS
        while time.monotonic() < deadline:
            state = self._stack(name)
            status = state["StackStatus"] if state else "missing"
            if status in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
                return
            if not status.endswith("_IN_PROGRESS"):
                raise StepFailed(f"The stack ended as {status}.\n{self._reasons(name)}")
            time.sleep(POLL_SECONDS)
        raise StepFailed(f"The stack was not ready within {LIMIT_SECONDS:.0f} s.")

    def _reasons(self, name: str) -> str:
        """What failed, oldest first: the first failure is the cause, the later ones are its consequences."""
        events = self.cloudformation.describe_stack_events(StackName=name)["StackEvents"]
        failures = [event for event in reversed(events) if event["ResourceStatus"].endswith("_FAILED")]
        return "\n".join(
            f"{event['LogicalResourceId']}: {event['ResourceStatus']} {event.get('ResourceStatusReason', '')}" for event in failures
        )
