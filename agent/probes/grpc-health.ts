import { Client, credentials } from "@grpc/grpc-js";
import { probeUserAgent } from "./user-agent.ts";

/**
 * Asks the gRPC health service (grpc.health.v1, plaintext) about one service.
 * @returns the serving status' number: 1 is SERVING.
 * @throws Error with the reason and gRPC's status as its `code`.
 */
export async function grpcHealth(
  address: string,
  service: string,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<number> {
  signal.throwIfAborted();
  const client = new Client(address, credentials.createInsecure(), {
    "grpc.primary_user_agent": probeUserAgent,
    "grpc.enable_http_proxy": 0,
    // A connection of its own: a shared one would still wait out its back-off when the server is up again.
    "grpc.use_local_subchannel_pool": 1,
  });
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const call = client.makeUnaryRequest<string, number>(
    "/grpc.health.v1.Health/Check",
    encodeRequest,
    decodeStatus,
    service,
    { deadline: Date.now() + timeoutMs },
    (cause, status) => {
      if (cause !== null) reject(cause);
      else resolve(status ?? 0);
    },
  );
  const stop = (): void => call.cancel();
  signal.addEventListener("abort", stop, { once: true });
  try {
    return await promise;
  } finally {
    signal.removeEventListener("abort", stop);
    client.close();
  }
}

/** HealthCheckRequest { string service = 1 } */
function encodeRequest(service: string): Buffer {
  const name = Buffer.from(service, "utf8");
  if (name.length === 0) return Buffer.alloc(0);
  return Buffer.concat([Buffer.from([0x0a, ...varint(name.length)]), name]);
}

function varint(value: number): readonly number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...varint(value >> 7)];
}

/** HealthCheckResponse { ServingStatus status = 1 }, a varint below 128. */
function decodeStatus(bytes: Buffer): number {
  return bytes[0] === 0x08 ? (bytes[1] ?? 0) : 0;
}
