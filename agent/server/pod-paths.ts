import { HttpError } from "./http-error.ts";
import type { AgentContainer, AgentPod, AgentView } from "../model.ts";

/** The Pod, and its container if there is one, that a path such as `/exec/NAMESPACE/POD[/UID]/CONTAINER` names. */
export interface PodPath {
  readonly namespace: string;
  readonly pod: string;
  readonly uid: string | undefined;
  readonly container: string | undefined;
}

/**
 * Cuts a path into its names.
 * @returns undefined when the path has too few or too many of them.
 */
export function parsePodPath(path: string, hasContainer: boolean): PodPath | undefined {
  const names = path.split("/").slice(2).map(decodeName);
  const least = hasContainer ? 3 : 2;
  if (names.length < least || names.length > least + 1 || names.includes("")) return undefined;
  const [namespace = "", pod = ""] = names;
  return {
    namespace,
    pod,
    uid: names.length > least ? names[2] : undefined,
    container: hasContainer ? names.at(-1) : undefined,
  };
}

/** @throws {HttpError} 404 when this node has no such Pod. */
export function findPod(view: AgentView, path: PodPath): AgentPod {
  const pod = view.podByName(path.namespace, path.pod);
  if (pod === undefined || (path.uid !== undefined && path.uid !== pod.uid))
    throw new HttpError(404, `pod "${path.pod}" does not exist`);
  return pod;
}

/** The container that runs under a name. @throws {HttpError} 404 when none does. */
export function findContainer(pod: AgentPod, path: PodPath): AgentContainer {
  const container = pod.containers.get(path.container ?? "");
  if (container === undefined) throw new HttpError(404, `container not found ("${path.container}")`);
  return container;
}

function decodeName(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return "";
  }
}
