/**
 * Asks the gRPC health service (grpc.health.v1, plaintext) about one service.
 * @returns the serving status' number: 1 is SERVING.
 * @throws Error with the reason.
 */
export async function grpcHealth(
  address: string,
  service: string,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<number> {
  // Loaded when the first gRPC probe runs: most nodes have none.
  const { Client, credentials } = await import("@grpc/grpc-js");
  const client = new Client(address, credentials.createInsecure(), {
    "grpc.primary_user_agent": "kube-probe/1.36",
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
  if (name.length > 127)
    throw new Error(`cannot ask about service "${service}": the name is longer than 127 bytes`);
  return Buffer.concat([Buffer.from([0x0a, name.length]), name]);
}

/** HealthCheckResponse { ServingStatus status = 1 }, a varint below 128. */
function decodeStatus(bytes: Buffer): number {
  return bytes[0] === 0x08 ? (bytes[1] ?? 0) : 0;
}
