import type { Taint, Toleration } from "./generated/kubernetes.ts";

/** True when this toleration covers the taint. An empty key tolerates every key, an empty effect every effect. */
export function tolerates(toleration: Toleration, taint: Taint): boolean {
  if ((toleration.effect ?? "") !== "" && toleration.effect !== taint.effect) return false;
  if ((toleration.key ?? "") !== "" && toleration.key !== taint.key) return false;
  switch (toleration.operator ?? "") {
    case "":
    case "Equal":
      return (toleration.value ?? "") === (taint.value ?? "");
    case "Exists":
      return true;
    case "Lt":
    case "Gt":
      return comesNumerically(toleration, taint);
    default:
      return false;
  }
}

/** The first taint with one of these effects that no toleration covers. */
export function untolerated(
  taints: readonly Taint[],
  tolerations: readonly Toleration[],
  effects: readonly string[],
): Taint | undefined {
  return taints.find(
    (taint) => effects.includes(taint.effect) && !tolerations.some((each) => tolerates(each, taint)),
  );
}

function comesNumerically(toleration: Toleration, taint: Taint): boolean {
  const [limit, value] = [toleration.value ?? "", taint.value ?? ""];
  if (!/^-?\d+$/.test(limit) || !/^-?\d+$/.test(value)) return false;
  return toleration.operator === "Lt" ? Number(value) < Number(limit) : Number(value) > Number(limit);
}
