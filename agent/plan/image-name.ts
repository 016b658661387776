/** Default pull policy: what may change under its name is asked for each time. */
export function pullPolicyOf(image: string, policy: string | undefined): "Always" | "IfNotPresent" | "Never" {
  if (policy === "Always" || policy === "IfNotPresent" || policy === "Never") return policy;
  return hasFixedTag(image) ? "IfNotPresent" : "Always";
}

/** Why a text is no image name; undefined when it is one. */
export function invalidImage(image: string): string | undefined {
  const [name = ""] = image.split("@");
  const path = name.replace(/:[^/:]*$/, "");
  if (image === "" || /\s/.test(image) || !/^[a-zA-Z0-9]/.test(image))
    return `couldn't parse image name "${image}": invalid reference format`;
  const slash = path.indexOf("/");
  const rest = slash >= 0 && /[.:]|^localhost$/.test(path.slice(0, slash)) ? path.slice(slash + 1) : path;
  if (/[A-Z]/.test(rest))
    return `couldn't parse image name "${image}": invalid reference format: repository name must be lowercase`;
  return undefined;
}

/** The registry of an image: `docker.io` unless its name says otherwise. */
export function registryOf(image: string): string {
  const slash = image.indexOf("/");
  const first = slash < 0 ? "" : image.slice(0, slash);
  return /[.:]|^localhost$/.test(first) ? first : "docker.io";
}

function hasFixedTag(image: string): boolean {
  if (image.includes("@")) return true;
  const tag = /:([^/:]+)$/.exec(image)?.[1];
  return tag !== undefined && tag !== "latest";
}
