import type { IncomingMessage } from "node:http";
import { ApiError, badRequest, notAllowed } from "../../api-error.ts";
import type { Engine, Reply, ResourceRequest } from "../engine.ts";
import { isRecord } from "../handlers/incoming.ts";
import { chooseContainer } from "./choose-container.ts";
import { logPath } from "./kubelet-path.ts";
import { kubeletOf, podPlace } from "./pod-place.ts";

/** What of a node's refusal is passed on, bytes. */
const refusalBytes = 64 * 1024;

/** GET pods/`name`/log: the container's output, from its node. */
export async function podLog(engine: Engine, request: ResourceRequest, signal: AbortSignal): Promise<Reply> {
  if (request.method !== "GET") throw notAllowed(request.method, "pods/log");
  const { namespace, name, query } = request;
  for (const field of ["tailLines", "limitBytes", "sinceSeconds"]) {
    const value = query.get(field);
    if (value !== null && value !== "" && !/^-?\d+$/.test(value))
      throw badRequest(`strconv.ParseInt: parsing "${value}": invalid syntax (in "${field}")`);
  }
  const { pod, address } = await podPlace(engine, namespace, name, signal);
  const container = chooseContainer(pod, query.get("container") ?? "");
  const path = logPath({ namespace, pod: name, container }, query);
  const answer = await kubeletOf(engine).send(address, { method: "GET", path, headers: {} }, signal);
  if (answer.kind === "upgraded") {
    answer.socket.destroy();
    throw new ApiError(
      500,
      "InternalError",
      "Internal error occurred: the node changed the protocol of a log",
    );
  }
  const { response } = answer;
  if ((response.statusCode ?? 500) !== 200) throw await refusalOf(response);
  return { kind: "stream", contentType: response.headers["content-type"] ?? "text/plain", body: response };
}

/** A node's refusal as a `Status`: its own, or its text in one. */
export async function refusalOf(response: IncomingMessage): Promise<ApiError> {
  const code = response.statusCode ?? 500;
  const text = await readSome(response);
  try {
    const status: unknown = JSON.parse(text);
    if (isRecord(status) && status["kind"] === "Status" && typeof status["message"] === "string")
      return new ApiError(
        code,
        typeof status["reason"] === "string" ? status["reason"] : "Unknown",
        status["message"],
      );
  } catch {
    // Plain text, as most of a node's refusals are.
  }
  const reasons: Readonly<Record<number, string>> = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
  };
  return new ApiError(
    code,
    reasons[code] ?? "InternalError",
    text.trim() === "" ? `the node answered ${code}` : text.trim(),
  );
}

async function readSome(response: IncomingMessage): Promise<string> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  const incoming: AsyncIterable<Uint8Array> = response;
  for await (const chunk of incoming) {
    chunks.push(chunk);
    length += chunk.length;
    if (length > refusalBytes) break;
  }
  return Buffer.concat(chunks).toString("utf8").slice(0, refusalBytes);
}
