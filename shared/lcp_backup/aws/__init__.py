"""Every edge to AWS, a file for each: nothing else in the package knows boto3."""
