"""Blobs: one port for containers on a disk, in Azure and in S3, and what jobs may name as a blob source."""
