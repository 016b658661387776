import { GrpcChannel } from "../../grpc/grpc-channel.ts";
import type { Codec } from "../../grpc/message-codec.ts";
import { toRuntimeError } from "./grpc-error.ts";

/** A connection to a CRI socket. Every failure is a {@link RuntimeError}. */
export class Channel extends GrpcChannel {
  /** @param endpoint `unix:///run/containerd/containerd.sock`, or the path alone. */
  constructor(endpoint: string, codec: Codec) {
    super(endpoint, codec, toRuntimeError);
  }
}
