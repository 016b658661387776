import t from "tap";
import { matchesImage } from "./image-glob.ts";

const cases: readonly (readonly [pattern: string, image: string, matches: boolean])[] = [
  ["registry.example", "registry.example/web:1", true],
  ["*.registry.example", "a.registry.example/web", true],
  ["*.registry.example", "a.b.registry.example/web", false],
  ["*.*.registry.example", "a.b.registry.example/web", true],
  ["a*z.example", "abcz.example/web", true],
  ["a?.example", "abc.example/web", false],
  ["registry.example/team", "registry.example/team/web", true],
  ["registry.example/team", "registry.example/other/web", false],
  ["registry.example:5000", "registry.example/web", false],
  ["registry.example", "registry.example:5000/web", false],
  ["registry.example:5000", "registry.example:5000/web", true],
  ["registry.example", "registry.example.evil.example/web", false],
  ["https://registry.example", "registry.example/web", true],
];
for (const [pattern, image, matches] of cases) {
  t.test(`IM4: "${pattern}" ${matches ? "means" : "does not mean"} ${image}`, async (t) => {
    t.equal(matchesImage(pattern, image), matches);
  });
}
