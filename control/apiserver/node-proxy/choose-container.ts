import { badRequest } from "../../api-error.ts";
import type { StoredObject } from "../../model.ts";
import { isRecord } from "../handlers/incoming.ts";

/** kubectl's annotation for pods of several containers. */
const defaultAnnotation = "kubectl.kubernetes.io/default-container";

/**
 * The container that a request means: the one it names, the annotated one, or the only one.
 * @throws {ApiError} 400 in Kubernetes' words when that is none or several.
 */
export function chooseContainer(pod: StoredObject, asked: string): string {
  const names = (field: string): readonly string[] => {
    const list = isRecord(pod["spec"]) ? pod["spec"][field] : undefined;
    return Array.isArray(list) ? list.map((item) => (isRecord(item) ? String(item["name"]) : "")) : [];
  };
  const [containers, init, ephemeral] = [
    names("containers"),
    names("initContainers"),
    names("ephemeralContainers"),
  ];
  if (asked !== "") {
    if ([...containers, ...init, ...ephemeral].includes(asked)) return asked;
    throw badRequest(`container ${asked} is not valid for pod ${pod.metadata.name}`);
  }
  const annotated = pod.metadata.annotations?.[defaultAnnotation] ?? "";
  if (containers.includes(annotated)) return annotated;
  const [only, second] = containers;
  if (only !== undefined && second === undefined) return only;
  if (only === undefined) throw badRequest(`a container name must be specified for pod ${pod.metadata.name}`);
  const others = init.length === 0 ? "" : ` or one of the init containers: [${init.join(" ")}]`;
  throw badRequest(
    `a container name must be specified for pod ${pod.metadata.name}, choose one of: [${containers.join(" ")}]${others}`,
  );
}
