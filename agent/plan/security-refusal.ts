import type { Pod } from "#api/generated/kubernetes.ts";

/** Why a Pod is refused for what its security settings ask for. */
export interface SecurityRefusal {
  readonly reason:
    | "PodFeatureUnsupported"
    | "SupplementalGroupsPolicyNotSupported"
    | "UnexpectedAdmissionError";
  readonly message: string;
}

/** What this node cannot give is refused: a Pod that asked to be shut in is never run with less. */
export function securityRefusal(pod: Pod): SecurityRefusal | undefined {
  if (pod.spec?.hostUsers === false) {
    const message = "spec.hostUsers: false needs user namespaces, which this node does not support";
    return { reason: "PodFeatureUnsupported", message };
  }
  if (pod.spec?.securityContext?.supplementalGroupsPolicy === "Strict") {
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
