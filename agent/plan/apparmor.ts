import type { AppArmorProfile, Container, Pod } from "#api/generated/kubernetes.ts";
import { containersOf } from "./containers-of.ts";

const annotationPrefix = "container.apparmor.security.beta.kubernetes.io/";

/**
 * The AppArmor profile a container asks for: its field, then the annotation that was there before the field (static
 * Pods still come with it; the API server turns it into the field), then the Pod's field.
 * @see KEP-24
 */
export function appArmorProfile(pod: Pod, container: Container): AppArmorProfile | undefined {
  return (
    container.securityContext?.appArmorProfile ??
    annotated(pod.metadata?.annotations?.[`${annotationPrefix}${container.name}`]) ??
    pod.spec?.securityContext?.appArmorProfile
  );
}

/** Why this node cannot shut in the Pod's containers as it asks, in the kubelet's words; undefined when it can. */
export function appArmorRefusal(pod: Pod, isEnabled: boolean): string | undefined {
  const profiles = containersOf(pod).map(({ container }) => appArmorProfile(pod, container));
  const wanted = [pod.spec?.securityContext?.appArmorProfile, ...profiles].filter(
    (profile) => profile !== undefined && profile.type !== "Unconfined",
  );
  if (wanted.length === 0) return undefined;
  if (!isEnabled) return "Cannot enforce AppArmor: AppArmor is not enabled on the host";
  const isUnnamed = wanted.some(
    (profile) => profile?.type === "Localhost" && (profile.localhostProfile ?? "").trim() === "",
  );
  return isUnnamed
    ? "Cannot enforce AppArmor: localhostProfile must be set when type is Localhost"
    : undefined;
}

/** `runtime/default`, `unconfined`, `localhost/<name>`; anything else asks for a profile that nobody has. */
function annotated(value: string | undefined): AppArmorProfile | undefined {
  if (value === undefined) return undefined;
  if (value === "runtime/default") return { type: "RuntimeDefault" };
  if (value === "unconfined") return { type: "Unconfined" };
  return { type: "Localhost", localhostProfile: value.replace(/^localhost\//, "") };
}
