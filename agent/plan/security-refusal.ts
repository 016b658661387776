import type { Pod } from "#api/generated/kubernetes.ts";
import type { RuntimeHandler } from "../runtime/runtime.ts";

/** Why a Pod is refused for what its security settings ask for. */
export interface SecurityRefusal {
  readonly reason: "SupplementalGroupsPolicyNotSupported" | "UnexpectedAdmissionError";
  readonly message: string;
}

/**
 * What this node cannot give is refused: a Pod that asked to be shut in is never run with less.
 * @param strictGroups whether the runtime can leave out the image's groups.
 */
export function securityRefusal(pod: Pod, strictGroups: boolean): SecurityRefusal | undefined {
  if (!strictGroups && pod.spec?.securityContext?.supplementalGroupsPolicy === "Strict") {
    const message = "SupplementalGroupsPolicy=Strict is not supported in this node";
    return { reason: "SupplementalGroupsPolicyNotSupported", message };
  }
  for (const profile of localSeccompProfiles(pod)) {
    if (!profile.startsWith("/") && !profile.split("/").includes("..")) continue;
    const message = `seccompProfile.localhostProfile "${profile}" must be a path below the node's folder of profiles`;
    return { reason: "UnexpectedAdmissionError", message };
  }
  return undefined;
}

/**
 * Why a Pod that asks for a user namespace cannot have one, in the kubelet's words; undefined when it can.
 * @param handler of its RuntimeClass; "" for the usual one.
 */
export function userNamespaceRefusal(
  pod: Pod,
  handler: string,
  handlers: readonly RuntimeHandler[],
): string | undefined {
  if (pod.spec?.hostUsers !== false) return undefined;
  const known = handlers.find(({ name }) => name === handler);
  if (known?.userNamespaces === true) return undefined;
  const message =
    handler === ""
      ? "can't set `spec.hostUsers: false`, runtime does not support user namespaces"
      : `can't set \`spec.hostUsers: false\`, RuntimeClass handler "${handler}" does not support user namespaces`;
  return known === undefined ? `${message}: the handler "${handler}" is not known` : message;
}

function localSeccompProfiles(pod: Pod): readonly string[] {
  const { spec } = pod;
  const all = [
    spec,
    ...(spec?.initContainers ?? []),
    ...(spec?.containers ?? []),
    ...(spec?.ephemeralContainers ?? []),
  ];
  return all.flatMap((one) => one?.securityContext?.seccompProfile?.localhostProfile ?? []);
}
