import { ApiError } from "../../../api-error.ts";

/** Reads a `k8s\0` protobuf envelope. @throws ApiError 400 or 415. */
export function decodeProtobuf(_bytes: Uint8Array): unknown {
  throw new ApiError(415, "UnsupportedMediaType", "protobuf bodies are not read yet; send application/json");
}
