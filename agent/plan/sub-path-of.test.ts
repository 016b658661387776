import t from "tap";
import { subPathOf } from "./sub-path-of.ts";

const variables = new Map([
  ["POD_NAME", "web-0"],
  ["DIR", "a/b"],
  ["UP", ".."],
  ["ROOT", "/etc"],
  ["EMPTY", ""],
]);

const cases: readonly {
  readonly name: string;
  readonly subPath?: string;
  readonly subPathExpr?: string;
  readonly is?: string;
  readonly refused?: string;
}[] = [
  { name: "neither", is: "" },
  { name: "a plain path keeps its dollar", subPath: "$(POD_NAME)", is: "$(POD_NAME)" },
  { name: "a variable", subPathExpr: "$(POD_NAME)", is: "web-0" },
  { name: "several, one with a slash", subPathExpr: "logs/$(POD_NAME)/$(DIR)", is: "logs/web-0/a/b" },
  { name: "an escaped one", subPathExpr: "$$(POD_NAME)", is: "$(POD_NAME)" },
  { name: "no expansion twice", subPathExpr: "$(POD_NAME)$", is: "web-0$" },
  { name: "dots in a name", subPathExpr: "..$(POD_NAME)", is: "..web-0" },
  { name: "missing ones", subPathExpr: "$(X)/$(A)/$(X)", refused: "missing value for A, X" },
  { name: "an empty one", subPathExpr: "$(EMPTY)", refused: "missing value for EMPTY" },
  {
    name: "a value that leads up",
    subPathExpr: "a/$(UP)/b",
    refused: "unable to provision SubPath `a/../b`: must not contain '..'",
  },
  {
    name: "only a value that leads up",
    subPathExpr: "$(UP)",
    refused: "unable to provision SubPath `..`: must not contain '..'",
  },
  {
    name: "a value that is absolute",
    subPathExpr: "$(ROOT)",
    refused: "error SubPath `/etc` must not be an absolute path",
  },
  { name: "absolute", subPath: "/etc", refused: "error SubPath `/etc` must not be an absolute path" },
];
for (const { name, is, refused, ...mount } of cases)
  t.test(`VO11: subPathExpr: ${name}`, async (t) => {
    const told = (): string => subPathOf({ name: "data", mountPath: "/data", ...mount }, variables);
    if (refused === undefined) t.equal(told(), is);
    else t.throws(told, { name: "SubPathRefusal", message: refused });
  });
