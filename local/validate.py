"""Validates the template as CloudFormation will see it: transformed, and with its parameters set.

cfn-lint and `sam validate` see the template as it is written. What SAM makes of it, and what an
optional resource says once its parameter is there, CloudFormation would be the first to read.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

import boto3
from cfnlint.decode.cfn_yaml import load
from cloudformation_validate import (
    CompositeEngine,
    RuleFilterConfig,
    Severity,
    TemplateContent,
    ValidateConfig,
)
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

from local.emulator import REGION
from local.stack import PROJECT

ACCOUNT: Final = "123456789012"
SECRET: Final = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:site-AbCdEf"
ID: Final = "1234abcd-12ab-34cd-56ef-1234567890ab"
KEY: Final = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{ID}"
FILE_SYSTEM: Final = f"arn:aws:elasticfilesystem:{REGION}:{ACCOUNT}"
OWN_POOL: Final = {"UserPoolId": "", "UserPoolClientId": "", "RequireMfa": "true"}
EVERY_PARAMETER: Final = {
    "ProjectId": "acme",
    "EnvironmentId": "prd",
    "EnvironmentType": "production",
    "DatabaseService": "liferay",
    "DatabaseTls": "VERIFY_IDENTITY",
    "DatabaseCa": SECRET,
    "Dbname": "lportal",
    "MasterUserName": "dxpcloud",
    "MasterUserPassword": SECRET,
    "ProjectMasterToken": SECRET,
    "LoaderUserName": "loader",
    "LoaderUserPassword": SECRET,
    "SiteUserName": "site",
    "SiteUserPassword": SECRET,
    "BackupFolder": "/mnt/liferay/data",
    "BackupVolumeMode": "INCREMENTAL",
    "BackupVolumeShrinkLimit": "50",
    "BackupVolumeThreads": "16",
    "Workers": "8",
    "BackupExcludeTables": "Audit_*",
    "BackupExcludePaths": "*.tmp,/document_library/*/0/adaptive/",
    "BackupExcludeGeneratedDlFilesOnBackupCreate": "true",
    "BackupExcludeGeneratedDlFilesOnBackupRestore": "true",
    "FileSystemArn": f"{FILE_SYSTEM}:file-system/fs-0123456789abcdef0",
    "FileSystemAccessPointArn": f"{FILE_SYSTEM}:access-point/fsap-0123456789abcdef0",
    "FileSystemMountPath": "/mnt/liferay",
    "BackupCreateSchedule": "0 1 * * *",
    "BackupCleanupSchedule": "0 2 * * *",
    "BackupRestoreSchedule": "0 3 * * *",
    "BackupRetentionPeriod": "14",
    "BackupVerifySchedule": "0 4 * * SUN",
    "BackupVerifyDatabaseService": "scratch",
    "BackupVerifyUserName": "verifier",
    "BackupVerifyUserPassword": SECRET,
    "BackupVerifySql": "SELECT COUNT(*) > 0 FROM User_;",
    "BackupKeep": "hourly:24,daily:7",
    "BackupRestoreStrategy": "OVERWRITE",
    "BackupRestoreSourceBucket": "source-bucket",
    "BackupRestoreSourcePrefix": "acme/source",
    "BackupRestoreSourceAccount": "210987654321",
    "BackupRestoreSourceKmsKeyArn": KEY,
    "BackupRestoreScripts": "shared/scripts",
    "BackupRestoreScriptsOnSchedule": "true",
    "BackupRestoreUploaded": "true",
    "BackupRestoreConnections": "4",
    "BackupPrefix": "backups/prd",
    "KmsKeyArn": KEY,
    "BackupObjectLock": "GOVERNANCE",
    "SubnetIds": "subnet-0123456789abcdef0,subnet-0123456789abcdef1",
    "SecurityGroupIds": "sg-0123456789abcdef0,sg-0123456789abcdef1",
    "DumpTaskSubnetIds": "subnet-0123456789abcdef0,subnet-0123456789abcdef1",
    "AlarmEmail": "ops@example.com",
    "LogRetention": "30",
    "UserPoolId": f"{REGION}_AbCdEfGhI",
    "UserPoolClientId": "1example23456789",
    "UserPoolDomain": "acme.auth.eu-central-1.amazoncognito.com",
    "ViewerGroup": "viewers",
    "AdminGroup": "admins",
    "RequireMfa": "false",
    "DomainName": "backup.example.com",
    "CertificateArn": f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/{ID}",
    "HostedZoneId": "Z0123456789ABCDEFGHIJ",
    "ApiThrottlingRate": "5",
    "ApiThrottlingBurst": "10",
    "BrowserOrigin": "https://console.example.com",
    "FunctionMemory": "2048",
    "FunctionTimeout": "600",
    "Architecture": "arm64",
    "ReserveConcurrency": "true",
    "ServiceLogLevel": "WARNING",
    "DebugLog": "true",
    "EndpointUrl": "",
}
"""A value for each, all optional ones at once; the endpoint is for local stacks only."""
PASSED_OVER: Final = {
    # That a branch cannot be reached once every parameter has its value goes without saying.
    "W1028",
    # Each reference is within an Fn::If on the very condition, which the rule does not see.
    "W1001",
    # `arn:aws:` is written nowhere: what it finds is `arn:${AWS::Partition}:` and more of the kind.
    "W9002",
}


def transformed(path: Path) -> dict[str, Any]:
    """What SAM makes of a template; code and machines' definitions are named and not looked at."""
    template = json.loads(json.dumps(load(str(path))))
    for resource in template["Resources"].values():
        for name in ("CodeUri", "ContentUri", "DefinitionUri"):
            if name in resource.get("Properties", {}):
                resource["Properties"][name] = f"s3://code/{resource['Properties'][name]}"
    translator = Translator({}, Parser(), boto_session=boto3.Session(region_name=REGION))
    made: dict[str, Any] = translator.translate(template, {})
    return made


def problems(template: dict[str, Any], parameters: dict[str, str]) -> list[str]:
    """What is wrong with the template when its parameters have these values, a sentence each."""
    report = CompositeEngine().validate_template(
        TemplateContent(json.dumps(template), "template.yaml, transformed"),
        ValidateConfig(
            parameter_overrides=parameters,
            severity_level=Severity.WARN,
            exclude=RuleFilterConfig(ids=sorted(PASSED_OVER)),
        ),
    )
    return [f"{found.rule_id} {found.message}" for found in report.diagnostics]


def main() -> int:
    """Prints what is wrong with the template; 0 when nothing is."""
    template = transformed(PROJECT / "template.yaml")
    cases = {"all parameters": EVERY_PARAMETER, "a pool of its own": EVERY_PARAMETER | OWN_POOL}
    wrong = [
        f"with {case}: {problem}"
        for case, parameters in cases.items()
        for problem in problems(template, parameters)
    ]
    print("\n".join(wrong) or "the transformed template is valid, with all parameters set")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
