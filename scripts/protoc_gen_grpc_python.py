"""A protoc plugin that lets buf run the gRPC Python generator of grpcio-tools.

grpcio-tools has that generator inside its own protoc, not as a plugin. This plugin reads buf's CodeGeneratorRequest
from stdin, makes grpcio-tools generate from the same descriptors, and writes the files as the response.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from google.protobuf import descriptor_pb2
from google.protobuf.compiler import plugin_pb2
from grpc_tools import protoc


def main() -> None:
    """Reads one CodeGeneratorRequest from stdin, writes a CodeGeneratorResponse to stdout."""
    request = plugin_pb2.CodeGeneratorRequest.FromString(sys.stdin.buffer.read())
    response = plugin_pb2.CodeGeneratorResponse()
    response.supported_features = plugin_pb2.CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL
    with tempfile.TemporaryDirectory() as folder:
        descriptors = Path(folder, "descriptors.binpb")
        descriptors.write_bytes(descriptor_pb2.FileDescriptorSet(file=request.proto_file).SerializeToString())
        out = Path(folder, "out")
        out.mkdir()
        wanted = set(request.file_to_generate)
        services = [file.name for file in request.proto_file if file.service and file.name in wanted]
        if services:
            arguments = ["protoc", f"--descriptor_set_in={descriptors}", f"--grpc_python_out={out}"]
            if protoc.main([*arguments, *services]) != 0:
                response.error = "grpcio-tools could not generate the services"
        for path in sorted(out.rglob("*.py")):
            response.file.add(name=str(path.relative_to(out)), content=path.read_text())
    sys.stdout.buffer.write(response.SerializeToString())


if __name__ == "__main__":
    main()
