/** Letters and digits that spell no words by accident: those of upstream's generated names. */
const letters = "bcdfghjklmnpqrstvwxz2456789";

/** @param random gives numbers in [0, 1). */
export function randomSuffix(length: number, random: () => number): string {
  return Array.from({ length }, () => letters[Math.floor(random() * letters.length)] ?? "b").join("");
}
